"""A run that was stopped and resumed ends, bit by bit, as the undisturbed one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import Line, Metrics, TrainerJob
from core.training.checkpoint import COUNTERS_FILE, TENSORS_FILE, Counters
from core.training.errors import InterruptedTraining
from tests.core.training.jobs import (
    BI_TUNING,
    METHODS,
    VANILLA,
    StopAfter,
    make_job,
    make_spec,
    read_card,
    read_weights,
    run_job,
)

PICTURES = 24  # should_stop is asked once a picture while the cache is made
EPOCHS = 3  # of three steps
LAST_STEP = 9
RANDOM_STEPS = [
    pytest.param(method, step, id=f"{method.type}-{step}")
    for seed, method in enumerate(METHODS)
    for step in np.random.default_rng(seed).permutation(range(1, LAST_STEP))[:5].tolist()
]


def make(directory: Path, method: ResolvedMethodSpec, *, compare_to_baseline: bool = False) -> TrainerJob:
    """Checkpoints after every step, so that the last state of all can be compared."""
    spec = make_spec(method, epochs=EPOCHS, compare_to_baseline=compare_to_baseline)
    return make_job(directory, spec).model_copy(update={"checkpoint_interval_seconds": 0})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[TrainerJob, list[Line]]]:
    """By method: a run from start to end, and what it said."""
    jobs = {method.type: make(tmp_path_factory.mktemp(method.type), method) for method in METHODS}
    return {name: (job, run_job(job)) for name, job in jobs.items()}


def checkpoint(job: TrainerJob, step: int) -> Path:
    return job.output_dir / "checkpoints" / str(step)


def stop_at_step(job: TrainerJob, step: int) -> TrainerJob:
    """The job as it goes on, elsewhere, from the checkpoint of a stop."""
    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=checkpoint(job, step).exists)
    assert not checkpoint(job, step + 1).exists()
    return resume(job, step)


def resume(job: TrainerJob, step: int) -> TrainerJob:
    update = {"resume_dir": checkpoint(job, step), "output_dir": job.output_dir.with_name("resumed")}
    return job.model_copy(update=update)


def assert_same_state(one: Path, other: Path) -> None:
    tensors, twins = load_file(one / TENSORS_FILE), load_file(other / TENSORS_FILE)
    assert tensors.keys() == twins.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], twins[name])] == []
    assert (one / COUNTERS_FILE).read_text() == (other / COUNTERS_FILE).read_text()


def assert_same_artifact(one: TrainerJob, other: TrainerJob) -> None:
    weights, twins = read_weights(one), read_weights(other)
    assert weights.keys() == twins.keys()
    assert [name for name in weights if not torch.equal(weights[name], twins[name])] == []
    assert read_card(one) == read_card(other)


def metrics_after(step: int, lines: list[Line]) -> list[Metrics]:
    return [line for line in lines if isinstance(line, Metrics) and line.step > step]


@pytest.mark.parametrize(("method", "step"), RANDOM_STEPS)
def test_resumed_run_equals_the_undisturbed_one(
    tmp_path: Path, undisturbed: dict[str, tuple[TrainerJob, list[Line]]], method: ResolvedMethodSpec, step: int
) -> None:
    job, lines = undisturbed[method.type]

    resumed = stop_at_step(make(tmp_path, method), step)
    lines_after = run_job(resumed)

    assert_same_state(checkpoint(job, LAST_STEP), checkpoint(resumed, LAST_STEP))
    assert_same_artifact(job, resumed)
    assert metrics_after(step, lines) == metrics_after(0, lines_after)


@pytest.mark.parametrize("step", [5, 9, 14, 22])  # in each contender, and between the first two
def test_resumed_comparison_equals_the_undisturbed_one(tmp_path: Path, step: int) -> None:
    job = make(tmp_path / "undisturbed", BI_TUNING, compare_to_baseline=True)
    lines = run_job(job)

    resumed = stop_at_step(make(tmp_path / "stopped", BI_TUNING, compare_to_baseline=True), step)
    lines_after = run_job(resumed)

    assert_same_state(checkpoint(job, 3 * LAST_STEP), checkpoint(resumed, 3 * LAST_STEP))
    assert_same_artifact(job, resumed)
    assert metrics_after(step, lines) == metrics_after(0, lines_after)


def test_checkpoint_holds_queues_and_key_encoder(tmp_path: Path) -> None:
    resumed = stop_at_step(make(tmp_path, BI_TUNING), 4)

    assert resumed.resume_dir is not None
    names = load_file(resumed.resume_dir / TENSORS_FILE).keys()
    queues = {f"method/{queue}_queue.{part}" for queue in ("feature", "projection") for part in ("keys", "counts")}
    assert queues <= names
    assert "method/key.projector.0.weight" in names
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


@pytest.mark.parametrize("asked", [0, 1, 2], ids=["remembering", "calibrating", "testing"])
def test_stop_during_the_last_evaluation_only_repeats_that(
    tmp_path: Path, undisturbed: dict[str, tuple[TrainerJob, list[Line]]], asked: int
) -> None:
    job = make(tmp_path, VANILLA)

    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=StopAfter(PICTURES + LAST_STEP + 3 + asked))
    resumed = resume(job, 9)
    lines = run_job(resumed)

    assert [line.type for line in lines] == ["finished"]
    assert_same_artifact(undisturbed["vanilla"][0], resumed)
