"""A disk that is too full for checkpoints costs no training."""

from pathlib import Path

import pytest
from safetensors import SafetensorError

from core.trainer_protocol import CheckpointSaved, ExitCode, Finished, Note
from core.training.run import describe
from tests.core.training.jobs import VANILLA, make_job, make_spec, run_job
from tests.small_disk import can_mount, small_disk

pytestmark = pytest.mark.skipif(not can_mount(), reason="this user may not mount a small disk")


def test_checkpoints_without_space_are_skipped_with_one_warning(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA)).model_copy(update={"checkpoint_interval_seconds": 0})
    job.output_dir.mkdir()

    with small_disk(job.output_dir, mebibytes=2):
        lines = run_job(job)
        left = [path.name for path in job.output_dir.iterdir()]

    assert [line.code for line in lines if isinstance(line, Note)] == ["checkpoint_skipped"]
    assert not any(isinstance(line, CheckpointSaved) for line in lines)
    assert isinstance(lines[-1], Finished)
    assert sorted(left) == ["artifact", "checkpoints"]


def test_artifact_without_space_ends_the_attempt(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA))
    job.output_dir.mkdir()

    with small_disk(job.output_dir, mebibytes=2):
        (job.output_dir / "ballast").write_bytes(bytes(1_900_000))
        with pytest.raises((OSError, SafetensorError)) as caught:
            run_job(job)

    assert describe(caught.value)[1] == ExitCode.NO_SPACE
