"""Batch norm that is folded into the convolution before it: the same function, with fewer passes over memory."""

from functools import partial
from typing import NamedTuple

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_weights

TOLERANCE = 1e-4  # of an output, beside its largest: rounding is a hundredth of it


class _Pair(NamedTuple):
    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    name: str  # of the norm in the network


@torch.no_grad()
def fold_batch_norm(network: nn.Module, example: Tensor) -> bool:
    """Folds in place, so that no network is there twice; whether it still answers as before. If not it is spoiled.

    Which norm follows which convolution is seen by running the example, (N, 3, H, W), in eval mode, not read from
    names. What no module shows, as an addition that takes the convolution's output too, is seen in the result.
    """
    pairs = _find_pairs(network, example)
    if not pairs:
        return True
    expected = network(example)
    for pair in pairs:
        _fold(pair.convolution, pair.norm)
        network.set_submodule(pair.name, _keep_activation(pair.norm))
    return bool((network(example) - expected).abs().max() <= TOLERANCE * expected.abs().max())


def _find_pairs(network: nn.Module, example: Tensor) -> list[_Pair]:
    watch = _Watch()
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(partial(watch.see_convolution, module)))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(partial(watch.see_norm, module, name)))
    network(example)
    for hook in hooks:
        hook.remove()
    return watch.pairs


class _Watch:
    """Which norm gets the very tensor that a convolution gave."""

    def __init__(self) -> None:
        self.pairs: list[_Pair] = []
        self._given: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the id of the living tensor

    def see_convolution(
        self, convolution: nn.Conv2d, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor
    ) -> None:
        self._given[id(output)] = (convolution, output)

    def see_norm(self, norm: nn.BatchNorm2d, name: str, _module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = self._given.pop(id(inputs[0]), None)  # to keep them all would take as much as the network
        if given is not None:
            self.pairs.append(_Pair(given[0], norm, name))


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """W' = W γ/σ, b' = (b − μ) γ/σ + β."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise ValueError("a norm without statistics is not folded")
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )


def _keep_activation(norm: nn.Module) -> nn.Module:
    """timm's batch norm brings its activation with it."""
    return norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
