"""Random resized crops and flips for a whole batch at once, on any device, with parameters per sample and view.

A crop that is resized with antialiasing is linear and separable: rows · picture · columnsᵀ. Each sample gets its own
two matrices, and two batched products do all crops, equal to torchvision's `resized_crop` (bilinear, antialias).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SCALE = (0.2, 1.0)  # share of the area
LOG_RATIO = (float(np.log(3 / 4)), float(np.log(4 / 3)))
TRIES = 10


class Crops(NamedTuple):
    """Boxes in pixels of the source, each (B,), and who is mirrored."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    mirrored: Tensor


UNIFORMS_PER_CROP = 4 * TRIES + 1


def draw_crops(uniforms: NDArray[np.float64], source_size: int) -> Crops:
    """torchvision's rule: of ten tries of area and ratio the first that fits, else the whole; then a fair coin.

    uniforms: (B, UNIFORMS_PER_CROP) in [0, 1).
    """
    tries = uniforms[:, : 4 * TRIES].reshape(len(uniforms), 4, TRIES)
    area = source_size**2 * (SCALE[0] + tries[:, 0] * (SCALE[1] - SCALE[0]))
    ratio = np.exp(LOG_RATIO[0] + tries[:, 1] * (LOG_RATIO[1] - LOG_RATIO[0]))
    width, height = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))  # (B, TRIES)
    fits = (width <= source_size) & (height <= source_size)
    first = np.argmax(fits, axis=1)
    rows = np.arange(len(uniforms))
    found = fits.any(axis=1)
    height = np.where(found, height[rows, first], source_size)
    width = np.where(found, width[rows, first], source_size)
    top = np.floor(tries[rows, 2, first] * (source_size - height + 1))
    left = np.floor(tries[rows, 3, first] * (source_size - width + 1))
    return Crops(
        top=torch.from_numpy(top).float(),
        left=torch.from_numpy(left).float(),
        height=torch.from_numpy(height).float(),
        width=torch.from_numpy(width).float(),
        mirrored=torch.from_numpy(uniforms[:, -1] < 0.5),
    )


def centre_crops(count: int, *, source_size: int, crop_size: int) -> Crops:
    """The same centred square for everyone, nobody mirrored."""
    start = torch.full((count,), float((source_size - crop_size) // 2))
    side = torch.full((count,), float(crop_size))
    return Crops(top=start, left=start, height=side, width=side, mirrored=torch.zeros(count, dtype=torch.bool))


def apply_crops(pixels: Tensor, crops: Crops, size: int) -> Tensor:
    """Float pixels (B, 3, R, R) to (B, 3, size, size), on the device of `pixels`."""
    source_size = pixels.shape[-1]
    crops = Crops(*(value.to(pixels.device) for value in crops))
    rows = _resize_matrices(crops.top, crops.height, source_size, size)  # (B, size, R)
    columns = _resize_matrices(crops.left, crops.width, source_size, size)
    columns = torch.where(crops.mirrored.view(-1, 1, 1), columns.flip(1), columns)
    return rows.unsqueeze(1) @ pixels @ columns.transpose(1, 2).unsqueeze(1)


def _resize_matrices(start: Tensor, length: Tensor, source_size: int, size: int) -> Tensor:
    """Rows of triangle-filter weights (B, size, source_size); pixels outside [start, start + length) weigh nothing."""
    scale = (length / size).view(-1, 1, 1)
    support = scale.clamp(min=1.0)
    places = torch.arange(size, device=start.device).view(1, -1, 1)
    source = torch.arange(source_size, device=start.device).view(1, 1, -1)
    start, length = start.view(-1, 1, 1), length.view(-1, 1, 1)
    centres = start + (places + 0.5) * scale
    weights = (1 - (source + 0.5 - centres).abs() / support).clamp(min=0)
    weights = weights * ((source >= start) & (source < start + length))
    return weights / weights.sum(dim=2, keepdim=True)
