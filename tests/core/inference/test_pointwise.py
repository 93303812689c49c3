import pytest
import timm
import torch
from torch import nn

from core.inference.pointwise import PointwiseConvolution, take_pointwise_from_onednn


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "regnetx_002"])
@torch.inference_mode()
def test_network_answers_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval()
    images = torch.randn(3, 3, 64, 64)
    expected = network(images)

    take_pointwise_from_onednn(network)

    assert any(isinstance(module, PointwiseConvolution) for module in network.modules())
    assert (network(images) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 6, 1, bias=False),
        nn.Conv2d(4, 6, 1, stride=2),
        nn.Conv2d(4, 6, 1, padding=1),
        nn.Conv2d(4, 6, 1, groups=2),
    ],
)
@torch.inference_mode()
def test_every_kind_of_pointwise_convolution_is_kept(convolution: nn.Conv2d) -> None:
    images = torch.randn(2, 4, 9, 7)
    network = nn.Sequential(convolution)
    expected = network(images)

    take_pointwise_from_onednn(network)

    assert isinstance(network[0], PointwiseConvolution)
    assert torch.allclose(network(images), expected, atol=1e-6)


class Own(nn.Conv2d):
    """Convolves in a way of its own."""


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, 1, padding="same"),
        nn.Conv2d(4, 6, 1, padding=1, padding_mode="reflect"),
        Own(4, 6, 1),
    ],
)
def test_other_modules_stay(module: nn.Module) -> None:
    network = nn.Sequential(module)

    take_pointwise_from_onednn(network)

    assert network[0] is module


def test_parameters_are_shared_and_keep_their_names() -> None:
    convolution = nn.Conv2d(4, 6, 1)
    network = nn.Sequential(convolution)

    take_pointwise_from_onednn(network)

    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    assert network.get_parameter("0.weight") is convolution.weight
