"""From pixels to the network's input, on any device; training and predict share it."""

import torch
from torch import Tensor


class Normalizer:
    """(x/255 − mean) / std per channel, as the backbone was pre-trained."""

    def __init__(
        self, *, mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device
    ) -> None:
        self._scale = (1 / (255 * torch.tensor(std))).view(1, 3, 1, 1).to(device)
        self._shift = (torch.tensor(mean) / torch.tensor(std)).view(1, 3, 1, 1).to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Values 0…255 of any dtype (N, 3, H, W) to float32 of the same shape."""
        return pixels.float() * self._scale - self._shift


def to_channels_first(pixels: Tensor) -> Tensor:
    """(N, H, W, 3) to (N, 3, H, W), as a view in channels-last memory."""
    return pixels.permute(0, 3, 1, 2)
