from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.errors import InvalidInputError
from core.inference.classifier import Classifier
from core.specs import BackboneDescription
from core.training.networks import build_classifier
from tests.core.training.jobs import describe, make_weights


def build(weights: Path, *, backbone: BackboneDescription | None = None, image_size: int = 32) -> Classifier:
    generator = torch.Generator().manual_seed(0)
    return build_classifier(backbone or describe(), weights, image_size=image_size, num_classes=3, generator=generator)


def test_every_tensor_of_the_backbone_comes_from_the_file(tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "weights.safetensors")

    classifier = build(weights)

    given = load_file(weights)
    assert all(torch.equal(value, given[name]) for name, value in classifier.backbone.state_dict().items())


def test_head_starts_small_and_unbiased(tmp_path: Path) -> None:
    head = build(make_weights(tmp_path / "weights.safetensors")).head

    assert float(head.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert not head.bias.detach().any()


@pytest.mark.parametrize("change", ["missing", "unexpected", "of another shape"])
def test_weights_that_do_not_match_are_refused(tmp_path: Path, change: str) -> None:
    weights = make_weights(tmp_path / "weights.safetensors")
    state = load_file(weights)
    value = state.pop("conv_stem.weight")
    if change != "missing":
        state["conv_stem.weight"] = value[:1] if change == "of another shape" else value
    if change == "unexpected":
        state["mystery"] = torch.ones(1)
    save_file(state, weights)

    with pytest.raises(InvalidInputError, match=rf"1 {change} \("):
        build(weights)


def test_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"not weights")

    with pytest.raises(InvalidInputError, match="no safetensors file"):
        build(weights)


def test_transformer_of_a_fixed_size_refuses_another(tmp_path: Path) -> None:
    backbone = describe().model_copy(update={"name": "test_vit", "image_size": 160})

    with pytest.raises(InvalidInputError, match="160 pixels only"):
        build(tmp_path / "weights.safetensors", backbone=backbone)
