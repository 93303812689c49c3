"""What a predictor answers."""

from dataclasses import dataclass
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class PicturePrediction(NamedTuple):
    """Of one picture."""

    probabilities: NDArray[np.float32]  # (C,)
    unknown_score: float | None


@dataclass(frozen=True)
class Predicted:
    """A row for each picture."""

    probabilities: NDArray[np.float32]  # (N, C)
    unknown_scores: NDArray[np.float32] | None  # (N,); None of a model that has no keys

    def split(self) -> list[PicturePrediction]:
        scores = repeat(None) if self.unknown_scores is None else map(float, self.unknown_scores)
        return [PicturePrediction(*both) for both in zip(self.probabilities, scores, strict=False)]
