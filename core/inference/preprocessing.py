"""From an upright RGB picture to the square that a network sees: one function for validation, test and predict."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

VERSION = 1
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Preprocessing(BaseModel):
    """Written into `model.json`, so that predict does what validation did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = VERSION
    image_size: int  # side of the square that the network sees
    resize_size: int  # the shorter side before the centre crop
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def prepare(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Shorter side to `resize_size`, centre crop; uint8 (S, S, 3) with S = `image_size`."""
    resized = resize_shorter_side(image, preprocessing.resize_size, preprocessing.interpolation)
    return crop_centre(resized, preprocessing.image_size)


def resize_shorter_side(image: Image.Image, size: int, interpolation: Literal["bilinear", "bicubic"]) -> Image.Image:
    width, height = image.size
    scale = size / min(width, height)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    return image.resize(target, _RESAMPLING[interpolation])


def crop_centre(image: Image.Image, size: int) -> NDArray[np.uint8]:
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)), dtype=np.uint8)
