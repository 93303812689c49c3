"""From probabilities to what a client asked to see of them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from api.decode_pool import DecodedImage
from api.schemas.predictions import ImageSize, LabelOut, PredictionError, PredictionOut
from core.errors import ConflictError
from core.images import ImageError
from core.inference.conformal import choose_labels, find_threshold
from core.inference.model_card import ModelCard
from core.inference.predicted import PicturePrediction
from core.ingest.errors import FetchError

DEFAULT_TOP_K = 5


@dataclass(frozen=True)
class Asked:
    """What may stand in the query or in the body."""

    top_k: int | None = None
    coverage: float | None = None

    def or_else(self, other: "Asked") -> "Asked":
        coverage = self.coverage if self.coverage is not None else other.coverage
        return Asked(self.top_k or other.top_k, coverage)


class Renderer:
    """Of one model. Raises ConflictError for a coverage where the model was trained before there were sets."""

    def __init__(self, card: ModelCard, asked: Asked) -> None:
        self._classes = card.classes
        self._limit = asked.top_k or DEFAULT_TOP_K
        self._unknown_threshold = card.unknown_threshold
        self._threshold = None if asked.coverage is None else _find_threshold(card, asked.coverage)

    def render(
        self,
        decoded: list[DecodedImage | ImageError | FetchError],
        predictions: Iterable[PicturePrediction],
    ) -> list[PredictionOut]:
        """One of `predictions` for each picture that could be decoded."""
        rows = iter(predictions)
        return [
            self._render_labels(item, next(rows)) if isinstance(item, DecodedImage) else _render_error(item)
            for item in decoded
        ]

    def _render_labels(self, image: DecodedImage, prediction: PicturePrediction) -> PredictionOut:
        probabilities = prediction.probabilities
        order = np.argsort(-probabilities, kind="stable")[: self._limit]
        labels = [LabelOut(label=self._classes[index], probability=float(probabilities[index])) for index in order]
        return PredictionOut(
            top=labels[0],
            labels=labels,
            prediction_set=self._render_set(probabilities),
            unknown_score=prediction.unknown_score,
            is_unknown=self._judge(prediction.unknown_score),
            image=ImageSize(width=image.width, height=image.height),
        )

    def _render_set(self, probabilities: NDArray[np.float32]) -> list[str] | None:
        if self._threshold is None:
            return None
        return [self._classes[index] for index in choose_labels(probabilities, self._threshold)]

    def _judge(self, score: float | None) -> bool | None:
        if score is None or self._unknown_threshold is None:
            return None
        return score > self._unknown_threshold


def _find_threshold(card: ModelCard, coverage: float) -> float:
    if not card.conformal_scores:
        raise ConflictError(
            "coverage_unavailable",
            "the model was trained before prediction sets were kept",
            hint="train it again: post its job's `resolved_spec`; or leave `coverage` out",
        )
    return find_threshold(card.conformal_scores, coverage)


def _render_error(error: ImageError | FetchError) -> PredictionOut:
    return PredictionOut(error=PredictionError(code=error.code, detail=error.message))
