import numpy as np
import pytest

from api.decode_pool import DecodedImage
from api.predict_rendering import Asked, Renderer
from core.errors import ConflictError
from core.images import ImageError
from core.inference.model_card import ModelCard
from core.inference.predicted import Predicted
from tests.cards import make_card

SCORES = [0.05 * number for number in range(1, 20)]  # 19 of them: the 95 % threshold is the largest, 0.95
PICTURE = DecodedImage(pixels=np.zeros((8, 8, 3), dtype=np.uint8), width=8, height=8)
PROBABILITIES = np.array([[0.04, 0.9, 0.06], [0.5, 0.2, 0.3]], dtype=np.float32)
FIRST, SECOND = PREDICTED = Predicted(PROBABILITIES, None).split()


def make_scored_card(scores: list[float]) -> ModelCard:
    return make_card("a", "b", "c").model_copy(update={"conformal_scores": scores})


@pytest.mark.parametrize(
    ("coverage", "sets"), [(0.5, [["b"], ["a"]]), (0.75, [["b"], ["a", "c"]]), (0.95, [["b", "c"], ["a", "c", "b"]])]
)
def test_sets_grow_with_the_coverage(coverage: float, sets: list[list[str]]) -> None:
    rendered = Renderer(make_scored_card(SCORES), Asked(coverage=coverage)).render([PICTURE, PICTURE], PREDICTED)

    assert [prediction.prediction_set for prediction in rendered] == sets


def test_without_coverage_there_is_no_set() -> None:
    (rendered,) = Renderer(make_scored_card(SCORES), Asked(top_k=1)).render([PICTURE], [FIRST])

    assert (rendered.prediction_set, [label.label for label in rendered.labels or []]) == (None, ["b"])


def test_set_is_not_cut_to_top_k() -> None:
    (rendered,) = Renderer(make_scored_card(SCORES), Asked(top_k=1, coverage=0.95)).render([PICTURE], [SECOND])

    assert rendered.prediction_set == ["a", "c", "b"]


def test_picture_with_an_error_takes_no_row() -> None:
    error = ImageError("image_undecodable", "it is damaged")

    rendered = Renderer(make_scored_card(SCORES), Asked()).render([error, PICTURE], [FIRST])

    assert [prediction.top and prediction.top.label for prediction in rendered] == [None, "b"]


def test_model_of_before_says_what_to_do() -> None:
    with pytest.raises(ConflictError, match="before prediction sets"):
        Renderer(make_scored_card([]), Asked(coverage=0.9))


def test_query_goes_before_the_body() -> None:
    assert Asked(top_k=1).or_else(Asked(top_k=2, coverage=0.9)) == Asked(top_k=1, coverage=0.9)


def test_score_above_the_threshold_is_unknown() -> None:
    card = make_card("a", "b", "c").model_copy(update={"unknown_threshold": 0.25})
    scores = np.array([0.25, 0.5], dtype=np.float32)
    error = ImageError("image_undecodable", "it is damaged")
    predictions = Predicted(PROBABILITIES, scores).split()

    known, bad, unknown = Renderer(card, Asked()).render([PICTURE, error, PICTURE], predictions)

    assert (known.unknown_score, known.is_unknown) == (0.25, False)
    assert (bad.unknown_score, bad.is_unknown) == (None, None)
    assert (unknown.unknown_score, unknown.is_unknown) == (0.5, True)


def test_model_without_keys_says_nothing_of_unknown_pictures() -> None:
    (rendered, _) = Renderer(make_card("a", "b", "c"), Asked()).render([PICTURE, PICTURE], PREDICTED)

    assert (rendered.unknown_score, rendered.is_unknown) == (None, None)
