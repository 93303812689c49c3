"""Archives of made-up pictures that are as hard to decode as photographs."""

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = 5
QUALITY = 85
DETAILS = (4, 16, 64)  # cells a side; finer ones are fainter


def write_archive(path: Path, *, pictures: int, side: int) -> Path:
    """A zip with a folder per class of JPEGs, stored as they are."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(pictures):
            archive.writestr(f"class_{number % CLASSES}/{number:06d}.jpg", _encode(_make_picture(random, side)))
    return path


def _make_picture(random: np.random.Generator, side: int) -> Image.Image:
    layers = [_enlarge(random.normal(0, 160 / cells**0.5, (cells, cells, 3)), side) for cells in DETAILS]
    return Image.fromarray((128 + np.sum(layers, axis=0)).clip(0, 255).astype(np.uint8))


def _enlarge(cells: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    channels = [
        Image.fromarray(cells[:, :, channel].astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
