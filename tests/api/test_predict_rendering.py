import numpy as np
import pytest

from api.decode_pool import DecodedImage
from api.predict_rendering import Asked, Renderer
from core.errors import ConflictError
from core.images import ImageError
from core.inference.model_card import ModelCard
from tests.cards import make_card

SCORES = [0.05 * number for number in range(1, 20)]  # 19 of them: the 95 % threshold is the largest, 0.95
PICTURE = DecodedImage(pixels=np.zeros((8, 8, 3), dtype=np.uint8), width=8, height=8)
PROBABILITIES = np.array([[0.04, 0.9, 0.06], [0.5, 0.2, 0.3]], dtype=np.float32)


def make_scored_card(scores: list[float]) -> ModelCard:
    return make_card("a", "b", "c").model_copy(update={"conformal_scores": scores})


@pytest.mark.parametrize(
    ("coverage", "sets"), [(0.5, [["b"], ["a"]]), (0.75, [["b"], ["a", "c"]]), (0.95, [["b", "c"], ["a", "c", "b"]])]
)
def test_sets_grow_with_the_coverage(coverage: float, sets: list[list[str]]) -> None:
    rendered = Renderer(make_scored_card(SCORES), Asked(coverage=coverage)).render([PICTURE, PICTURE], PROBABILITIES)

    assert [prediction.prediction_set for prediction in rendered] == sets


def test_without_coverage_there_is_no_set() -> None:
    (rendered,) = Renderer(make_scored_card(SCORES), Asked(top_k=1)).render([PICTURE], PROBABILITIES[:1])

    assert (rendered.prediction_set, [label.label for label in rendered.labels or []]) == (None, ["b"])


def test_set_is_not_cut_to_top_k() -> None:
    (rendered,) = Renderer(make_scored_card(SCORES), Asked(top_k=1, coverage=0.95)).render([PICTURE], PROBABILITIES[1:])

    assert rendered.prediction_set == ["a", "c", "b"]


def test_picture_with_an_error_takes_no_row() -> None:
    error = ImageError("image_undecodable", "it is damaged")

    rendered = Renderer(make_scored_card(SCORES), Asked()).render([error, PICTURE], PROBABILITIES[:1])

    assert [prediction.top and prediction.top.label for prediction in rendered] == [None, "b"]


def test_model_of_before_says_what_to_do() -> None:
    with pytest.raises(ConflictError, match="before prediction sets"):
        Renderer(make_scored_card([]), Asked(coverage=0.9))


def test_query_goes_before_the_body() -> None:
    assert Asked(top_k=1).or_else(Asked(top_k=2, coverage=0.9)) == Asked(top_k=1, coverage=0.9)
