"""A run that was stopped and resumed ends, bit by bit, as the undisturbed one."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import Metrics, TrainerJob
from core.training.checkpoint import COUNTERS_FILE, TENSORS_FILE, Counters
from core.training.errors import InterruptedTraining
from tests.core.training.jobs import BI_TUNING, VANILLA, StopAfter, make_job, make_spec, read_weights, run_job

PICTURES = 24  # should_stop is asked once a picture while the cache is made
EPOCHS = 3  # of three steps
BOTH = pytest.mark.parametrize("method", [BI_TUNING, VANILLA], ids=lambda method: method.type)


def make(directory: Path, method: ResolvedMethodSpec) -> TrainerJob:
    """Checkpoints after every step, so that the last state of all can be compared."""
    spec = make_spec(method, epochs=EPOCHS)
    return make_job(directory, spec).model_copy(update={"checkpoint_interval_seconds": 0})


def checkpoint(job: TrainerJob, step: int) -> Path:
    return job.output_dir / "checkpoints" / str(step)


def stop_at_step(job: TrainerJob, step: int) -> TrainerJob:
    """The job as it goes on, elsewhere, from the checkpoint of a stop."""
    validations = step // 3  # each asks once
    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=StopAfter(PICTURES + step + validations))
    return resume(job, step)


def resume(job: TrainerJob, step: int) -> TrainerJob:
    update = {"resume_dir": checkpoint(job, step), "output_dir": job.output_dir.with_name("resumed")}
    return job.model_copy(update=update)


def assert_same_state(one: Path, other: Path) -> None:
    tensors, twins = load_file(one / TENSORS_FILE), load_file(other / TENSORS_FILE)
    assert tensors.keys() == twins.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], twins[name])] == []
    assert (one / COUNTERS_FILE).read_text() == (other / COUNTERS_FILE).read_text()


@BOTH
@pytest.mark.parametrize("step", [1, 4, 6])
def test_resumed_run_equals_the_undisturbed_one(tmp_path: Path, method: ResolvedMethodSpec, step: int) -> None:
    undisturbed = make(tmp_path / "undisturbed", method)
    lines = run_job(undisturbed)

    resumed = stop_at_step(make(tmp_path / "stopped", method), step)
    lines_after = run_job(resumed)

    assert_same_state(checkpoint(undisturbed, 9), checkpoint(resumed, 9))
    assert read_weights(undisturbed).keys() == read_weights(resumed).keys()
    assert all(torch.equal(value, read_weights(resumed)[name]) for name, value in read_weights(undisturbed).items())
    metrics = [line for line in lines if isinstance(line, Metrics) and line.step > step]
    assert metrics == [line for line in lines_after if isinstance(line, Metrics)]


def test_checkpoint_holds_queues_and_key_encoder(tmp_path: Path) -> None:
    resumed = stop_at_step(make(tmp_path, BI_TUNING), 4)

    assert resumed.resume_dir is not None
    names = load_file(resumed.resume_dir / TENSORS_FILE).keys()
    queues = {f"method/{queue}_queue.{part}" for queue in ("feature", "projection") for part in ("keys", "counts")}
    assert queues <= names
    assert "method/key.projector.weight" in names
    assert any(name.startswith("best/") for name in names)


def test_stop_during_validation_validates_after_the_resume(tmp_path: Path) -> None:
    undisturbed = make(tmp_path / "undisturbed", VANILLA)
    run_job(undisturbed)
    job = make(tmp_path / "stopped", VANILLA)

    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=StopAfter(PICTURES + 3))  # asked before three steps, then by the validation
    counters = Counters.model_validate_json((checkpoint(job, 3) / COUNTERS_FILE).read_text())
    resumed = resume(job, 3)
    run_job(resumed)

    assert counters.epochs_validated == 0
    assert_same_state(checkpoint(undisturbed, 9), checkpoint(resumed, 9))


def test_stop_during_the_last_evaluation_only_repeats_that(tmp_path: Path) -> None:
    job = make(tmp_path, VANILLA)

    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=StopAfter(PICTURES + 9 + 3))
    resumed = resume(job, 9)
    lines = run_job(resumed)

    assert [line.type for line in lines] == ["finished"]
