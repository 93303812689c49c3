"""Intervals, calibration and scores, from logits and labels alone."""

import math

import torch
from torch import Tensor
from torch.nn import functional

Z = 1.959964  # of 95 %
CALIBRATION_BINS = 15
TEMPERATURES = (0.25, 16.0)
GOLDEN = (math.sqrt(5) - 1) / 2
SEARCH_STEPS = 60


def wilson_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927); honest also for few samples and near 0 and 1."""
    share, square = count / total, Z**2 / total
    centre = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_interval(is_right: Tensor, is_right_other: Tensor) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same samples (Agresti and Min 2005, half added to each
    cell); both bool (M,).
    """
    total = len(is_right) + 2
    only, only_other = (
        float((mine & ~theirs).sum()) + 0.5 for mine, theirs in ((is_right, is_right_other), (is_right_other, is_right))
    )
    difference = (only - only_other) / total
    half = Z * math.sqrt(only + only_other - (only - only_other) ** 2 / total) / total
    return max(-1.0, difference - half), min(1.0, difference + half)


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Expected calibration error of the top label (Guo et al. 2017), 15 bins; probabilities (M, C), labels (M,)."""
    confidence, predicted = probabilities.double().max(dim=1)
    bins = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    gaps = torch.zeros(CALIBRATION_BINS, dtype=torch.float64)
    gaps.index_add_(0, bins, (predicted == labels).double() - confidence)
    return float(gaps.abs().sum() / len(labels))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The divisor of the logits (M, C) with the least cross-entropy (Guo et al. 2017), by golden section in 1/T, in
    which it is convex. Where there is no mistake to learn from, the model is never made surer than it is.
    """
    has_mistake = bool((logits.argmax(dim=1) != labels).any())
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0] if has_mistake else 1.0
    for _ in range(SEARCH_STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if _cross_entropy(logits, labels, left) <= _cross_entropy(logits, labels, right):
            high = right
        else:
            low = left
    return 2 / (low + high)


def count_confusions(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Rows (true, predicted, count) of the pairs that occur, (P, 3)."""
    pairs, counts = (labels * num_classes + predicted).unique(return_counts=True)
    return torch.stack([pairs // num_classes, pairs % num_classes, counts], dim=1)


def _cross_entropy(logits: Tensor, labels: Tensor, scale: float) -> float:
    return float(functional.cross_entropy(logits.double() * scale, labels))
