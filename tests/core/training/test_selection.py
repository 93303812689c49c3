from pathlib import Path

import pytest

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import Metrics
from core.training.checkpoint import BestEpoch, Counters
from core.training.selection import Judgement, judge
from tests.core.training.jobs import BI_TUNING, VANILLA, make_job, make_spec, read_card, run_job


def judge_all(accuracies: list[float], num_samples: int) -> list[Judgement]:
    judged: list[Judgement] = []
    for accuracy in accuracies:
        judged.append(judge(accuracy, judged[-1].highest if judged else None, num_samples=num_samples))
    return judged


@pytest.mark.parametrize(
    ("accuracies", "num_samples", "taken", "gained"),
    [
        ([0.80, 0.77, 0.79, 0.75], 100, [1, 1, 1, 0], [1, 0, 0, 0]),  # one standard error of 0.80 is 0.04
        ([0.80, 0.77, 0.79, 0.75], 10_000, [1, 0, 0, 0], [1, 0, 0, 0]),  # many pictures tell them apart
        ([0.60, 0.80, 0.78, 0.81], 100, [1, 1, 1, 1], [1, 1, 0, 1]),
        ([0.80, 0.77, 0.79], 100, [1, 1, 1], [1, 0, 0]),  # 0.79 is no gain over 0.80, though over what was taken last
        ([1.0, 0.9, 1.0], 10, [1, 0, 1], [1, 0, 0]),
        ([0.0, 0.0], 10, [1, 1], [1, 0]),
    ],
)
def test_epochs_within_one_standard_error_of_the_highest_are_taken(
    accuracies: list[float], num_samples: int, taken: list[int], gained: list[int]
) -> None:
    judged = judge_all(accuracies, num_samples)

    assert [one.is_taken for one in judged] == [bool(flag) for flag in taken]
    assert [one.has_gained for one in judged] == [bool(flag) for flag in gained]


def test_checkpoint_of_before_goes_on_from_its_best_epoch() -> None:
    best = BestEpoch(epoch=3, encoder="query", accuracy=0.9, loss=0.1)
    body = Counters(best=best).model_dump(exclude={"top_accuracy"})

    assert Counters.model_validate(body).highest_accuracy == 0.9


@pytest.mark.parametrize("spec", [BI_TUNING, VANILLA], ids=["bi_tuning", "vanilla"])
@pytest.mark.parametrize("seed", range(3))
def test_job_exports_the_last_epoch_that_was_taken(tmp_path: Path, spec: ResolvedMethodSpec, seed: int) -> None:
    job = make_job(tmp_path, make_spec(spec, epochs=6, seed=seed, learning_rate=0.2, batch_norm="batch"))

    metrics = [line.values for line in run_job(job) if isinstance(line, Metrics)]

    accuracies = [values["val_accuracy"] for values in metrics if "val_accuracy" in values]
    taken = [epoch for epoch, one in enumerate(judge_all(accuracies, num_samples=6), start=1) if one.is_taken]
    card = read_card(job)
    assert card.metrics["best_epoch"] == taken[-1]
    assert card.metrics["val_accuracy"] == accuracies[taken[-1] - 1]
