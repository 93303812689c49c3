"""From pixels to the network's input, on any device; training and predict share it."""

import torch
from torch import Tensor

from core.inference.preprocessing import Preprocessing


class Normalizer:
    """(x / 255 − mean) / std for each channel, as the backbone was pre-trained."""

    def __init__(self, preprocessing: Preprocessing, device: torch.device) -> None:
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self._scale = (1 / (255 * std)).view(1, 3, 1, 1).to(device)
        self._shift = (mean / std).view(1, 3, 1, 1).to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Values 0…255 of any dtype (N, 3, H, W) to float32 of the same shape."""
        return pixels.float() * self._scale - self._shift


def to_channels_first(pixels: Tensor) -> Tensor:
    """(N, H, W, 3) to (N, 3, H, W), as a view in channels-last memory."""
    return pixels.permute(0, 3, 1, 2)
