from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from core.inference.classifier import Classifier, create_backbone
from core.inference.exported_network import ExportedNetwork, frame
from core.inference.model_card import ModelCard
from core.inference.predictor import Predictor
from tests.cards import make_card
from tests.core.inference.around import Around
from tests.core.training.jobs import BACKBONE, IMAGE_SIZE, describe


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    classifier = Classifier(create_backbone(BACKBONE), num_features=describe().num_features, num_classes=3)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_probabilities_of_a_picture_do_not_depend_on_its_batch(weights: Path) -> None:
    predictor = Predictor.load(weights, make_card("a", "b", "c"))
    pixels = np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)

    together = predictor.predict(pixels).probabilities

    assert together.shape == (5, 3)
    assert together.dtype == np.float32
    assert np.allclose(together.sum(axis=1), 1, atol=1e-6)
    assert np.allclose(predictor.predict(pixels[2:3]).probabilities[0], together[2], atol=1e-5)


def test_bf16_answers_nearly_the_same_from_half_the_memory(weights: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    exact = Predictor.load(weights, make_card("a", "b", "c"))
    short = Predictor.load(weights, make_card("a", "b", "c"), precision="bf16")

    assert np.abs(short.predict(pixels).probabilities - exact.predict(pixels).probabilities).max() < 0.02
    assert short.size_bytes < 0.6 * exact.size_bytes


@timm.models.register_model
def around(pretrained: bool = False, **_: object) -> nn.Module:
    """By this name a model card has it."""
    return Around()


def test_network_that_folding_would_change_stays_as_it_is(tmp_path: Path) -> None:
    card = make_card("a", "b", "c").model_copy(update={"backbone": "around", "num_features": 4})
    classifier = Classifier(create_backbone("around"), num_features=4, num_classes=3)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    plain = Predictor(ExportedNetwork(classifier), card, torch.device("cpu"))

    loaded = Predictor.load(tmp_path / "weights.safetensors", card)

    assert np.array_equal(loaded.predict(make_pixels(5)).probabilities, plain.predict(make_pixels(5)).probabilities)


def test_temperature_softens_probabilities(weights: Path) -> None:
    sure, softened = (
        Predictor.load(weights, make_card("a", "b", "c", temperature=temperature)) for temperature in (1.0, 2.0)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)

    twin = np.sqrt(sure.predict(pixels).probabilities)  # the softmax of half the logits, but for its sum
    assert np.allclose(softened.predict(pixels).probabilities, twin / twin.sum(axis=1, keepdims=True), atol=1e-6)


def test_pixels_may_be_read_only(weights: Path) -> None:
    pixels = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    pixels.flags.writeable = False

    assert Predictor.load(weights, make_card("a", "b", "c")).predict(pixels).probabilities.shape == (1, 3)


def test_size_is_that_of_the_tensors(weights: Path) -> None:
    size = Predictor.load(weights, make_card("a", "b", "c")).size_bytes

    assert size == pytest.approx(weights.stat().st_size, rel=0.1)  # a header; norms that are folded


def test_weights_of_other_classes_are_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match=r"head\.bias is \(3,\), not \(2,\)"):
        Predictor.load(weights, make_card("a", "b"))


NUM_FEATURES = describe().num_features


def add_keys(weights: Path, *, width: int = NUM_FEATURES) -> Path:
    """The same classifier, of a model that can tell unknown pictures."""
    keys = functional.normalize(torch.randn(6, width, generator=torch.Generator().manual_seed(1)), dim=1)
    path = weights.with_name("with_keys.safetensors")
    save_file(load_file(weights) | {"novelty.keys": keys.half()}, path)
    return path


def make_keyed_card(threshold: float | None = 0.5) -> ModelCard:
    return make_card("a", "b", "c").model_copy(update={"unknown_threshold": threshold})


def make_pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


def test_scores_change_no_bit_of_the_probabilities(weights: Path) -> None:
    plain = Predictor.load(weights, make_card("a", "b", "c")).predict(make_pixels(5))
    keyed = Predictor.load(add_keys(weights), make_keyed_card()).predict(make_pixels(5))

    assert np.array_equal(plain.probabilities, keyed.probabilities)
    assert plain.unknown_scores is None
    assert keyed.unknown_scores is not None
    assert keyed.unknown_scores.shape == (5,)
    assert ((keyed.unknown_scores >= 0) & (keyed.unknown_scores <= 2)).all()


def test_backbone_runs_once_for_both(weights: Path) -> None:
    classifier = Classifier(create_backbone(BACKBONE), num_features=describe().num_features, num_classes=3)
    state = load_file(add_keys(weights))
    runs: list[int] = []
    classifier.backbone.register_forward_hook(lambda *_: runs.append(1))
    predictor = Predictor(frame(classifier, state), make_keyed_card(), torch.device("cpu"))
    runs.clear()

    assert predictor.predict(make_pixels(2)).unknown_scores is not None
    assert len(runs) == 1


def test_size_counts_the_keys(weights: Path) -> None:
    plain = Predictor.load(weights, make_card("a", "b", "c"))
    keyed = Predictor.load(add_keys(weights), make_keyed_card())

    assert keyed.size_bytes - plain.size_bytes == 4 * 6 * NUM_FEATURES


def test_threshold_without_keys_is_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match="hold no keys"):
        Predictor.load(weights, make_keyed_card())


def test_keys_of_another_width_are_refused(weights: Path) -> None:
    with pytest.raises(ValueError, match=rf"novelty\.keys is \(6, 4\), not \(6, {NUM_FEATURES}\)"):
        Predictor.load(add_keys(weights, width=4), make_keyed_card())
