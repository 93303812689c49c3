from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from core.inference.classifier import Classifier, create_backbone
from core.inference.predictor import Predictor
from tests.cards import make_card
from tests.core.training.jobs import BACKBONE, IMAGE_SIZE, describe


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    classifier = Classifier(create_backbone(BACKBONE), num_features=describe().num_features, num_classes=3)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_probabilities_of_a_picture_do_not_depend_on_its_batch(weights: Path) -> None:
    predictor = Predictor.load(weights, make_card("a", "b", "c"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)

    together = predictor.predict(pixels)

    assert together.shape == (5, 3)
    assert together.dtype == np.float32
    assert np.allclose(together.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(predictor.predict(pixels[2:3])[0], together[2], atol=1e-5)


def test_bf16_answers_nearly_the_same_from_half_the_memory(weights: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    exact = Predictor.load(weights, make_card("a", "b", "c"))
    short = Predictor.load(weights, make_card("a", "b", "c"), precision="bf16")

    assert np.abs(short.predict(pixels) - exact.predict(pixels)).max() < 0.02
    assert short.size_bytes < 0.6 * exact.size_bytes


def test_temperature_softens_probabilities(weights: Path) -> None:
    sure, softened = (
        Predictor.load(weights, make_card("a", "b", "c", temperature=temperature)) for temperature in (1.0, 2.0)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)

    twin = np.sqrt(sure.predict(pixels))  # the softmax of half the logits, but for its sum
    assert np.allclose(softened.predict(pixels), twin / twin.sum(axis=1, keepdims=True), atol=1e-6)


def test_pixels_may_be_read_only(weights: Path) -> None:
    pixels = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    pixels.flags.writeable = False

    assert Predictor.load(weights, make_card("a", "b", "c")).predict(pixels).shape == (1, 3)


def test_size_is_that_of_the_tensors(weights: Path) -> None:
    size = Predictor.load(weights, make_card("a", "b", "c")).size_bytes

    assert size == pytest.approx(weights.stat().st_size, rel=0.1)  # a header; norms that are folded


def test_weights_of_other_classes_are_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"head\.bias is \(3,\), not \(2,\)"):
        Predictor.load(weights, make_card("a", "b"))
