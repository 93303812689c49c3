"""Archives of made-up pictures that are as hard to decode as photographs."""

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = 5
QUALITY = 85
SCENE_SIDE = 2048  # pictures are cut out of one scene
DETAILS = (32, 128, 512)  # cells a side; finer ones are fainter


def write_archive(path: Path, *, pictures: int, side: int) -> Path:
    """A zip with a folder per class of JPEGs, stored as they are."""
    random = np.random.default_rng(0)
    scene = _make_scene(random)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(pictures):
            left, top = random.integers(0, SCENE_SIDE - side, 2).tolist()
            picture = scene.crop((left, top, left + side, top + side))
            archive.writestr(f"class_{number % CLASSES}/{number:06d}.jpg", _encode(picture))
    return path


def _make_scene(random: np.random.Generator) -> Image.Image:
    layers = [_enlarge(random.normal(0, 400 / cells**0.5, (cells, cells, 3))) for cells in DETAILS]
    return Image.fromarray((128 + np.sum(layers, axis=0)).clip(0, 255).astype(np.uint8))


def _enlarge(cells: NDArray[np.float64]) -> NDArray[np.float32]:
    size = (SCENE_SIDE, SCENE_SIDE)
    channels = [
        Image.fromarray(cells[:, :, channel].astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        for channel in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _encode(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
