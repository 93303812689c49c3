"""Whether predict will say of a picture what the evaluation said: tried at the end of every job, on the written files.

The evaluation looked at pixels of the cache, in the trainer's own network. Here a picture goes the way that predict
sends it: from its original bytes through the one decode, `prepare`, and a predictor loaded from the artifact.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.dataset_index import INDEX_FILE, IndexEntry, read_index
from core.inference.model_card import WEIGHTS_FILE, ModelCard, Parity
from core.inference.predictor import Predictor
from core.inference.preprocessing import Preprocessing
from core.training.data import SampleSet
from core.training.originals import read_square
from core.training.spread import spread

MAX_PICTURES = 64
TIE = 0.01  # labels whose probabilities are this near to each other, relatively, may change places by rounding


class Evaluated(NamedTuple):
    """A split and what the evaluation said of it."""

    samples: SampleSet
    probabilities: Tensor  # (M, C)


class _Deviation(NamedTuple):
    """Of one picture."""

    is_otherwise: bool
    largest_difference: float


UNREADABLE = _Deviation(is_otherwise=True, largest_difference=1.0)


def measure_parity(
    weights_dir: Path, card: ModelCard, dataset_dir: Path, evaluated: Evaluated, *, on_batch: Callable[[], None]
) -> Parity:
    """On a few pictures, evenly spread over the split, one after the other; `on_batch` may raise."""
    predictor = Predictor.load(weights_dir / WEIGHTS_FILE, card)
    entries = read_index(dataset_dir / INDEX_FILE)
    deviations = []
    for place in spread(len(evaluated.samples), MAX_PICTURES):
        answer = _predict(predictor, card.preprocessing, dataset_dir, entries[evaluated.samples.rows[place]])
        deviations.append(UNREADABLE if answer is None else _compare(answer, evaluated.probabilities[place]))
        on_batch()
    return Parity(
        num_samples=len(deviations),
        agreement=sum(not deviation.is_otherwise for deviation in deviations) / len(deviations),
        largest_difference=max(deviation.largest_difference for deviation in deviations),
    )


def _predict(predictor: Predictor, preprocessing: Preprocessing, dataset_dir: Path, entry: IndexEntry) -> Tensor | None:
    """Probabilities (C,); None where the picture, which was readable when it was imported, is not so any more."""
    square = read_square(dataset_dir, entry, preprocessing)
    return None if square is None else torch.from_numpy(predictor.predict(square[np.newaxis]).probabilities[0])


def _compare(answer: Tensor, expected: Tensor) -> _Deviation:
    """Both (C,)."""
    given = answer.double()
    is_otherwise = expected[given.argmax()] < (1 - TIE) * expected.max()
    return _Deviation(bool(is_otherwise), float((given - expected).abs().max()))
