from pathlib import Path

import numpy as np
import pytest
import torch

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import CheckpointSaved, Finished, Metrics, Note
from core.training.errors import DivergedError, InterruptedTraining
from tests.core.training.jobs import (
    BI_TUNING,
    VANILLA,
    StopAfter,
    make_dataset,
    make_job,
    make_spec,
    read_card,
    read_weights,
    run_job,
)

BOTH = pytest.mark.parametrize("method", [BI_TUNING, VANILLA], ids=lambda method: method.type)


@BOTH
def test_colours_are_learnt(tmp_path: Path, method: ResolvedMethodSpec) -> None:
    job = make_job(tmp_path, make_spec(method, epochs=10))

    lines = run_job(job)

    assert isinstance(lines[-1], Finished)
    assert lines[-1].metrics["test_accuracy"] == 1.0
    assert read_card(job).metrics == lines[-1].metrics


@BOTH
def test_same_job_gives_the_same_weights(tmp_path: Path, method: ResolvedMethodSpec) -> None:
    first, again, other = (
        make_job(tmp_path / str(number), make_spec(method, seed=seed)) for number, seed in enumerate([0, 0, 1])
    )

    assert run_job(first)[:-1] == run_job(again)[:-1]  # the last names a folder
    run_job(other)

    assert all(torch.equal(value, read_weights(again)[name]) for name, value in read_weights(first).items())
    assert not torch.equal(read_weights(first)["head.weight"], read_weights(other)["head.weight"])


def test_every_epoch_says_losses_and_validation(tmp_path: Path) -> None:
    lines = run_job(make_job(tmp_path, make_spec(BI_TUNING)))

    epochs = [line for line in lines if isinstance(line, Metrics) and "val_accuracy" in line.values]
    assert [(line.step, line.epoch) for line in epochs] == [(3, 1), (6, 2)]  # 14 samples: 3 steps of 4
    assert epochs[0].values.keys() == {"train_loss", "loss_ce", "loss_cce", "loss_ccl", "val_loss", "val_accuracy"}


def test_losses_are_said_every_ten_steps(tmp_path: Path) -> None:
    lines = run_job(make_job(tmp_path, make_spec(VANILLA, epochs=7)))

    between = [line for line in lines if isinstance(line, Metrics) and "val_accuracy" not in line.values]
    assert [(line.step, list(line.values)) for line in between] == [(10, ["train_loss"]), (20, ["train_loss"])]


def test_training_stops_early_when_nothing_gets_better(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=30, learning_rate=1e-9, patience=2))

    lines = run_job(job)

    assert [line.code for line in lines if isinstance(line, Note)] == ["stopped_early"]
    assert sum(isinstance(line, Metrics) for line in lines) == 3  # the first is the best, then two in vain
    assert read_card(job).metrics["val_accuracy"] == max(
        line.values["val_accuracy"] for line in lines if isinstance(line, Metrics)
    )


def test_loss_that_is_no_number_ends_training(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="at step"):
        run_job(make_job(tmp_path, make_spec(VANILLA, epochs=20, learning_rate=1e9)))


def test_checkpoint_is_written_after_every_step_when_asked(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1)).model_copy(update={"checkpoint_interval_seconds": 0})

    saved = [line for line in run_job(job) if isinstance(line, CheckpointSaved)]

    assert [line.step for line in saved] == [1, 2, 3]
    assert [line.is_best for line in saved] == [False, False, True]
    assert all((line.directory / name).is_file() for line in saved for name in line.files)


def test_dataset_smaller_than_a_batch_is_one_short_batch(tmp_path: Path) -> None:
    dataset_dir = make_dataset(tmp_path / "small", train=3, val=2, test=0)

    lines = run_job(make_job(tmp_path, make_spec(BI_TUNING, epochs=2), dataset_dir=dataset_dir))

    assert [line.step for line in lines if isinstance(line, Metrics)] == [1, 2]


def test_evaluation_says_that_it_is_on_validation_without_a_test_split(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA), dataset_dir=make_dataset(tmp_path / "no-test", test=0))

    lines = run_job(job)

    evaluation = read_card(job).evaluation
    assert [line.code for line in lines if isinstance(line, Note)] == ["no_test_split"]
    assert (evaluation.split, evaluation.num_samples) == ("val", 6)
    assert "test_accuracy" not in read_card(job).metrics


def test_evaluation_counts_every_test_sample(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA))

    run_job(job)

    evaluation = read_card(job).evaluation
    assert np.array(evaluation.confusion).sum(axis=1).tolist() == [2, 2]
    assert evaluation.accuracy == np.trace(np.array(evaluation.confusion)) / 4


def test_stop_while_preparing_leaves_no_checkpoint(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA))

    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=StopAfter(5))

    assert not job.output_dir.exists()
