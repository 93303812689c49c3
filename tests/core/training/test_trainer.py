from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import CheckpointSaved, Finished, Line, Metrics, Note
from core.training import checkpoint_writer
from core.training.checkpoint import TENSORS_FILE
from core.training.errors import DivergedError, InterruptedTraining
from tests.core.training.jobs import (
    BACKBONE,
    BI_TUNING,
    METHODS,
    VANILLA,
    StopAfter,
    make_dataset,
    make_job,
    make_spec,
    read_card,
    read_weights,
    run_job,
)

SHARP = BI_TUNING.model_copy(update={"temperature": 0.07})
WITHOUT_BATCH_NORM = "test_convnext"
EACH_METHOD = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.type)


def list_codes(lines: list[Line]) -> list[str]:
    return [line.code for line in lines if isinstance(line, Note)]


@pytest.mark.parametrize("method", [BI_TUNING, VANILLA], ids=lambda method: method.type)
def test_colours_are_learnt(tmp_path: Path, method: ResolvedMethodSpec) -> None:
    job = make_job(tmp_path, make_spec(method, epochs=20, learning_rate=0.02))

    lines = run_job(job)

    assert isinstance(lines[-1], Finished)
    assert lines[-1].metrics["test_accuracy"] == 1.0
    assert read_card(job).metrics == lines[-1].metrics


@EACH_METHOD
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
    losses = {"train_loss", "loss_ce", "loss_cce", "loss_ccl", "val_loss"}
    assert epochs[0].values.keys() == losses | {"val_accuracy", "val_accuracy_query", "val_accuracy_key"}


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


def test_last_good_checkpoint_outlives_a_divergence(tmp_path: Path) -> None:
    spec = make_spec(VANILLA, epochs=40, learning_rate=1e9, warm_up_fraction=0.0)
    job = make_job(tmp_path, spec).model_copy(update={"checkpoint_interval_seconds": 0})

    with pytest.raises(DivergedError):
        run_job(job)

    state = load_file(max((job.output_dir / "checkpoints").iterdir(), key=lambda path: int(path.name)) / TENSORS_FILE)
    assert all(value.isfinite().all() for name, value in state.items() if name.startswith("method/query"))


@pytest.mark.parametrize(("red", "green"), [(1.0, 9.0), (9.0, 1.0)])
def test_class_weights_pull_towards_the_heavier_class(tmp_path: Path, red: float, green: float) -> None:
    """The names come in another order than the classes: a store may change it."""
    job = make_job(tmp_path, make_spec(VANILLA, class_weights={"green": green, "red": red}))

    run_job(job)

    bias_red, bias_green = read_weights(job)["head.bias"].tolist()
    assert (bias_red > bias_green) == (red > green)


def test_comparison_trains_baselines_with_the_same_steps(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(BI_TUNING, compare_to_baseline=True))

    lines = run_job(job)

    epochs = [line for line in lines if isinstance(line, Metrics)]
    assert [line.step for line in epochs] == [3, 6, 9, 12, 15, 18]
    assert {"vanilla_val_accuracy", "linear_probe_val_accuracy"} <= {name for line in epochs for name in line.values}
    evaluation = read_card(job).evaluation
    assert [other.method for other in evaluation.comparisons] == ["vanilla", "linear_probe"]
    for other in evaluation.comparisons:
        assert other.accuracy + other.accuracy_difference == pytest.approx(evaluation.accuracy)
        assert other.interval[0] <= other.accuracy_difference <= other.interval[1]


def test_baseline_of_a_comparison_is_the_one_trained_alone(tmp_path: Path) -> None:
    compared, alone = (
        make_job(tmp_path / "compared", make_spec(BI_TUNING, compare_to_baseline=True)),
        make_job(tmp_path / "alone", make_spec(VANILLA)),
    )
    run_job(compared)
    run_job(alone)

    assert read_card(compared).evaluation.comparisons[0].accuracy == read_card(alone).evaluation.accuracy


def test_better_encoder_is_exported_and_named(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(BI_TUNING, epochs=6))

    epochs = [line.values for line in run_job(job) if isinstance(line, Metrics) and "val_accuracy" in line.values]

    for values in epochs:
        assert values["val_accuracy"] == max(values["val_accuracy_query"], values["val_accuracy_key"])
    card = read_card(job)
    best = epochs[int(card.metrics["best_epoch"]) - 1]
    assert best[f"val_accuracy_{card.encoder}"] == card.metrics["val_accuracy"]


def test_checkpoint_is_written_after_every_step_when_asked(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA, epochs=1)).model_copy(update={"checkpoint_interval_seconds": 0})

    saved = [line for line in run_job(job) if isinstance(line, CheckpointSaved)]

    assert [line.step for line in saved] == [1, 2, 3]
    assert [line.is_best for line in saved] == [False, False, True]


@pytest.mark.parametrize(("share", "all_best"), [(0.0, True), (1.0, False)])
def test_best_epochs_are_saved_before_the_others_are_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, all_best: bool
) -> None:
    monkeypatch.setattr(checkpoint_writer, "BEST_SHARE", share)

    lines = run_job(make_job(tmp_path, make_spec(VANILLA, epochs=4)))

    saved = [line for line in lines if isinstance(line, CheckpointSaved)]
    assert any(line.is_best for line in saved) == all_best
    assert all(line.is_best for line in saved[:-1])  # the last is of the end
    assert all((line.directory / name).is_file() for line in saved for name in line.files)


def test_dataset_smaller_than_a_batch_is_one_short_batch(tmp_path: Path) -> None:
    dataset_dir = make_dataset(tmp_path / "small", train=3, val=2, test=0)

    lines = run_job(make_job(tmp_path, make_spec(BI_TUNING, epochs=2), dataset_dir=dataset_dir))

    assert [line.step for line in lines if isinstance(line, Metrics)] == [1, 2]


def test_evaluation_says_that_it_is_on_validation_without_a_test_split(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA), dataset_dir=make_dataset(tmp_path / "no-test", test=0))

    lines = run_job(job)

    evaluation = read_card(job).evaluation
    assert list_codes(lines) == ["no_test_split"]
    assert (evaluation.split, evaluation.num_samples) == ("val", 6)
    assert "test_accuracy" not in read_card(job).metrics


@pytest.mark.parametrize(
    ("batch_norm", "backbone", "codes"),
    [
        ("pretrained", BACKBONE, ["sharp_temperature"]),
        ("batch", BACKBONE, []),
        ("pretrained", WITHOUT_BATCH_NORM, []),
    ],
)
def test_sharp_temperature_is_warned_of_where_statistics_are_kept(
    tmp_path: Path, batch_norm: str, backbone: str, codes: list[str]
) -> None:
    spec = make_spec(SHARP, batch_norm=batch_norm, backbone=backbone, epochs=1, compare_to_baseline=True)

    assert list_codes(run_job(make_job(tmp_path, spec))) == codes


def test_note_of_a_method_is_not_said_again_after_a_stop(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(SHARP)).model_copy(update={"checkpoint_interval_seconds": 0})
    checkpoint = job.output_dir / "checkpoints" / "1"
    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=checkpoint.exists)

    lines = run_job(job.model_copy(update={"resume_dir": checkpoint}))

    assert list_codes(lines) == []


def test_evaluation_counts_every_test_sample(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA))

    run_job(job)

    evaluation = read_card(job).evaluation
    matrix = np.array(evaluation.confusion_matrix)
    assert matrix.sum(axis=1).tolist() == [2, 2]
    assert evaluation.accuracy == np.trace(matrix) / 4


def test_stop_while_preparing_leaves_no_checkpoint(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(VANILLA))

    with pytest.raises(InterruptedTraining):
        run_job(job, should_stop=StopAfter(5))

    assert not job.output_dir.exists()
