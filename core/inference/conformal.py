"""Prediction sets that hold the true label as often as asked: split conformal prediction (Vovk et al. 2005).

The score of a picture is 1 − p of its true label, by which sets are smallest on average (Sadinle et al. 2019). For
pictures drawn as those of the validation split were, a set holds the true label with at least the coverage asked for,
however bad the model is: the sets of a bad one are large.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray

MAX_SCORES = 1000  # kept in a model's card
DIGITS = 5


def compute_scores(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> list[float]:
    """Of probabilities (M, C) and labels (M,): sorted, rounded up, and thinned so that coverage never falls."""
    scores = np.sort(1 - probabilities[np.arange(len(labels)), labels])
    if len(scores) > MAX_SCORES:
        ranks = np.arange(1, MAX_SCORES + 1) * (len(scores) + 1) / (MAX_SCORES + 1)
        scores = scores[np.ceil(ranks).astype(np.int64) - 1]
    return round_up(scores)


def round_up(scores: NDArray[np.float64]) -> list[float]:
    """So that a threshold among them is never lower than it was."""
    rounded: list[float] = (np.ceil(scores * 10**DIGITS) / 10**DIGITS).tolist()
    return rounded


def find_threshold(scores: Sequence[float], coverage: float, *, highest: float = 1.0) -> float:
    """Of sorted scores: what as large a share as asked of new ones is not above; `highest` where they are too few."""
    rank = ceil((len(scores) + 1) * coverage)
    return scores[rank - 1] if rank <= len(scores) else highest


def choose_labels(probabilities: NDArray[np.float32], threshold: float) -> NDArray[np.intp]:
    """Of probabilities (C,): the indices that belong to the set, from the likeliest on, which is always in it."""
    order = np.argsort(-probabilities, kind="stable")
    count = int(np.count_nonzero(1 - probabilities.astype(np.float64) <= threshold))
    return order[: max(1, count)]
