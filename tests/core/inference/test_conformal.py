import numpy as np
import pytest
from numpy.typing import NDArray

from core.inference.conformal import MAX_SCORES, choose_labels, compute_scores, find_threshold

NUM_CLASSES = 6


def draw(
    random: np.random.Generator, count: int, *, noise: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities (count, C) of a model that is far too sure of itself, and labels."""
    labels = random.integers(0, NUM_CLASSES, count)
    logits = 2.0 * np.eye(NUM_CLASSES)[labels] + random.normal(size=(count, NUM_CLASSES))
    odds = np.exp(4 * logits)
    return odds / odds.sum(axis=1, keepdims=True), labels


def measure_coverage(probabilities: NDArray[np.float64], labels: NDArray[np.int64], threshold: float) -> float:
    sets = [choose_labels(row.astype(np.float32), threshold) for row in probabilities]
    return float(np.mean([label in chosen for label, chosen in zip(labels, sets, strict=True)]))


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("calibrated_on", [100, 3 * MAX_SCORES])
def test_sets_hold_the_truth_as_often_as_asked(coverage: float, calibrated_on: int) -> None:
    random = np.random.default_rng(0)
    measured = []
    for _ in range(20):
        threshold = find_threshold(compute_scores(*draw(random, calibrated_on)), coverage)
        measured.append(measure_coverage(*draw(random, 500), threshold))

    assert np.mean(measured) == pytest.approx(coverage, abs=0.02)


def test_probabilities_alone_would_not() -> None:
    """The control: labels until their probabilities sum up to 0.95, as if the model were right about itself."""
    probabilities, labels = draw(np.random.default_rng(0), 2000)

    order = np.argsort(-probabilities, axis=1)
    descending = np.take_along_axis(probabilities, order, axis=1)
    is_in_set = np.cumsum(descending, axis=1) - descending < 0.95
    held = is_in_set[order == labels[:, None]]

    assert held.mean() < 0.93


def test_threshold_is_that_of_a_slow_twin() -> None:
    probabilities, labels = draw(np.random.default_rng(1), 99)

    scores = sorted(1 - probabilities[index][label] for index, label in enumerate(labels))

    assert find_threshold(compute_scores(probabilities, labels), 0.9) == pytest.approx(scores[89], abs=2e-5)


def test_too_few_scores_give_every_label() -> None:
    threshold = find_threshold([0.1] * 18, 0.95)

    assert len(choose_labels(np.array([0.98, 0.01, 0.01], dtype=np.float32), threshold)) == 3
    assert find_threshold([0.1] * 19, 0.95) == 0.1


def test_set_is_never_empty_and_begins_with_the_likeliest() -> None:
    assert choose_labels(np.array([0.3, 0.5, 0.2], dtype=np.float32), 0.0).tolist() == [1]
    assert choose_labels(np.array([0.3, 0.5, 0.2], dtype=np.float32), 0.75).tolist() == [1, 0]
