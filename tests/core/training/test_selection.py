import math
from pathlib import Path

import pytest

from core.specs import ResolvedMethodSpec
from core.trainer_protocol import Metrics
from core.training.selection import is_as_good
from tests.core.training.jobs import BI_TUNING, VANILLA, make_job, make_spec, read_card, run_job


@pytest.mark.parametrize(
    ("accuracy", "top", "num_samples", "expected"),
    [
        (0.80, 0.80, 100, True),
        (0.765, 0.80, 100, True),  # one standard error is 0.04
        (0.755, 0.80, 100, False),
        (0.795, 0.80, 10_000, False),  # many pictures tell the two apart
        (1.0, 1.0, 10, True),
        (0.9, 1.0, 10, False),
        (0.0, 0.0, 10, True),
    ],
)
def test_epoch_is_as_good_within_one_standard_error(
    accuracy: float, top: float, num_samples: int, expected: bool
) -> None:
    assert is_as_good(accuracy, top, num_samples=num_samples) == expected


@pytest.mark.parametrize("spec", [BI_TUNING, VANILLA], ids=["bi_tuning", "vanilla"])
@pytest.mark.parametrize("seed", range(3))
def test_job_exports_the_last_epoch_that_validation_cannot_tell_from_the_best(
    tmp_path: Path, spec: ResolvedMethodSpec, seed: int
) -> None:
    job = make_job(tmp_path, make_spec(spec, epochs=6, seed=seed, learning_rate=0.2))

    lines = run_job(job)

    seen = [
        line.values["val_accuracy"] for line in lines if isinstance(line, Metrics) and "val_accuracy" in line.values
    ]
    top, num_val = max(seen), 6
    allowed = top - math.sqrt(top * (1 - top) / num_val)
    expected = max(epoch for epoch, accuracy in enumerate(seen, start=1) if accuracy >= allowed)
    metrics = read_card(job).metrics
    assert metrics["best_epoch"] == expected
    assert metrics["val_accuracy"] == seen[expected - 1]
