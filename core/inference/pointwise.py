"""1 × 1 convolutions by oneDNN, also on one thread.

For a batch of fewer than 16 pictures on one thread PyTorch takes a matrix product of MKL instead (`use_mkldnn` in
ATen's Convolution.cpp), which is slower where MKL does not know the processor: 11 instead of 7 ms a picture
(tf_efficientnet_lite0 at 224 px, 8 pictures, a core of an AMD EPYC).
"""

from typing import TypeGuard

import torch
from torch import Tensor, nn


class PointwiseConvolution(nn.Module):
    """The same function with the same parameters, for inference on a CPU."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias
        self._arguments = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W)"""
        result: Tensor = torch.ops.aten.mkldnn_convolution(images, self.weight, self.bias, *self._arguments)
        return result


def take_pointwise_from_onednn(network: nn.Module) -> None:
    """In place; where PyTorch was built without oneDNN nothing happens."""
    if not torch.backends.mkldnn.is_available():
        return
    for name, module in list(network.named_modules()):
        if _is_pointwise(module):
            network.set_submodule(name, PointwiseConvolution(module))


def _is_pointwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Subclasses may convolve in a way of their own."""
    if type(module) is not nn.Conv2d or module.kernel_size != (1, 1):
        return False
    return module.padding_mode == "zeros" and not isinstance(module.padding, str)
