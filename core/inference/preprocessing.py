"""From an upright RGB picture to the square that a network sees: one function for validation, test and predict."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from core.specs import BackboneDescription

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


def make_preprocessing(backbone: BackboneDescription, image_size: int) -> Preprocessing:
    return Preprocessing(
        image_size=image_size,
        resize_size=max(image_size, round(image_size / backbone.crop_pct)),
        interpolation=backbone.interpolation,
        mean=backbone.mean,
        std=backbone.std,
    )


def prepare(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Shorter side to `resize_size`, centre crop; uint8 (S, S, 3) with S = `image_size`.

    Both are one resize of a box of the source, so that a very long picture is never blown up as a whole.
    """
    size = preprocessing.image_size
    scale = preprocessing.resize_size / min(image.size)
    left, right = _crop_edges(image.width, scale, size)
    top, bottom = _crop_edges(image.height, scale, size)
    square = image.resize((size, size), _RESAMPLING[preprocessing.interpolation], box=(left, top, right, bottom))
    return np.asarray(square, dtype=np.uint8)


def _crop_edges(side: int, scale: float, size: int) -> tuple[float, float]:
    """Where the centre crop of the resized side begins and ends, in pixels of the source."""
    resized = max(size, round(side * scale))
    start = (resized - size) // 2
    return start * side / resized, (start + size) * side / resized
