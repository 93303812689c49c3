import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from core.training.statistics import (
    calibration_error,
    count_confusions,
    fit_temperature,
    paired_interval,
    wilson_interval,
)


def make_logits(count: int, *, scale: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Labels drawn from the softmax of the logits, which are then scaled: the right temperature is the scale."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 4, generator=generator, dtype=torch.float64) * 2
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    return logits * scale, labels


@pytest.mark.parametrize(  # Newcombe 1998, Statistics in Medicine 17, table I: the score method without correction
    ("count", "total", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
)
def test_wilson_interval_is_the_published_one(count: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(count, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_wilson_interval_covers_the_truth_about_95_times_in_a_hundred(share: float) -> None:
    """By the exact binomial distribution of 60 samples."""
    covered = 0.0
    for count in range(61):
        low, high = wilson_interval(count, 60)
        covered += math.comb(60, count) * share**count * (1 - share) ** (60 - count) * (low <= share <= high)

    assert 0.92 < covered < 0.985


def test_paired_interval_knows_that_the_samples_are_the_same() -> None:
    one = torch.tensor([True] * 90 + [False] * 10)
    other = torch.tensor([True] * 85 + [False] * 15)

    low, high = paired_interval(one, other)

    assert low <= 0.05 <= high
    assert high - low < 0.15  # two intervals of 100 samples each would leave 0.19


def test_paired_interval_of_equal_answers_holds_zero_and_turns_with_the_sides() -> None:
    one, other = torch.rand(50) > 0.3, torch.rand(50) > 0.5

    same, there, back = paired_interval(one, one), paired_interval(one, other), paired_interval(other, one)

    assert same[0] < 0 < same[1]
    assert there == pytest.approx((-back[1], -back[0]))


def test_paired_interval_covers_the_truth_about_95_times_in_a_hundred() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(1000):
        kinds = torch.multinomial(torch.tensor([0.7, 0.15, 0.05, 0.1]), 80, replacement=True, generator=generator)
        low, high = paired_interval(kinds < 2, (kinds == 0) | (kinds == 2))  # the truth is 0.15 - 0.05
        covered += low <= 0.1 <= high

    assert 930 <= covered <= 980


def test_calibration_error_equals_its_twin() -> None:
    logits, labels = make_logits(500, scale=1.7)
    probabilities = logits.softmax(dim=1)

    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(probabilities, labels, strict=True):
        confidence = float(row.max())
        bins.setdefault(min(14, int(confidence * 15)), []).append((confidence, bool(row.argmax() == label)))
    twin = sum(abs(sum(right for _, right in found) - sum(sure for sure, _ in found)) for found in bins.values()) / 500

    assert calibration_error(probabilities, labels) == pytest.approx(twin, abs=1e-9)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_fitted_temperature_finds_the_scale_and_lowers_the_error(scale: float) -> None:
    logits, labels = make_logits(8000, scale=scale)

    temperature = fit_temperature(logits, labels)

    assert temperature == pytest.approx(scale, rel=0.06)
    assert calibration_error((logits / temperature).softmax(dim=1), labels) < 0.02


def test_fitted_temperature_is_the_best_of_a_fine_grid() -> None:
    logits, labels = make_logits(300, scale=2.4)
    grid = [0.25 * 1.01**power for power in range(410)]

    best = min(grid, key=lambda value: float(functional.cross_entropy(logits / value, labels)))

    assert fit_temperature(logits, labels) == pytest.approx(best, rel=0.011)


def test_model_without_mistakes_is_never_made_surer() -> None:
    logits = functional.one_hot(torch.arange(4), 4).double() * 3

    assert fit_temperature(logits, torch.arange(4)) >= 1


def test_confusions_equal_a_count_by_hand() -> None:
    predicted, labels = torch.tensor([0, 1, 1, 2, 0, 1]), torch.tensor([0, 1, 2, 2, 0, 0])

    assert count_confusions(predicted, labels, 3).tolist() == [[0, 0, 2], [0, 1, 1], [1, 1, 1], [2, 1, 1], [2, 2, 1]]
