from copy import deepcopy

import pytest
import timm
import torch
from torch import nn

from core.inference.folding import fold_batch_norm
from tests.core.inference.around import Around


def make_network(name: str) -> nn.Module:
    """With statistics as training leaves them: those of a fresh network fold into nothing."""
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name, num_classes=0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -1.0, 1.0),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
            ):
                assert tensor is not None
                tensor.uniform_(low, high)
    return network.eval()


def count_norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def measure_difference(network: nn.Module, folded: nn.Module, *, side: int = 64) -> float:
    images = torch.randn(4, 3, side, side)
    expected = network(images)
    return float((folded(images) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "regnetx_002"])
def test_folded_network_answers_the_same_without_a_norm(name: str) -> None:
    network = make_network(name)

    folded = deepcopy(network)
    assert fold_batch_norm(folded, torch.randn(1, 3, 64, 64))

    assert (count_norms(network) > 0, count_norms(folded)) == (True, 0)
    assert measure_difference(network, folded) < 1e-5


def test_norm_before_a_convolution_stays() -> None:
    network = make_network("densenet121")

    folded = deepcopy(network)
    assert fold_batch_norm(folded, torch.randn(1, 3, 64, 64))

    assert 0 < count_norms(folded) < count_norms(network)
    assert measure_difference(network, folded) < 1e-5


def test_network_without_norms_is_left_as_it_is() -> None:
    network = make_network("test_vit")

    folded = deepcopy(network)
    assert fold_batch_norm(folded, torch.randn(1, 3, 160, 160))

    assert measure_difference(network, folded, side=160) == 0


def test_network_that_answers_otherwise_is_told() -> None:
    assert not fold_batch_norm(Around().eval(), torch.randn(1, 3, 8, 8))
