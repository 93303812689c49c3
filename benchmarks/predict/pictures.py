"""The pictures that are sent: smooth noise as in photographs, JPEG, sides of 224 to 1,024 px, the same each time."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDES = (224, 1024)
RATIOS = (1.0, 4 / 3, 3 / 2)  # of the longer to the shorter side
CELLS = ((3, 90.0), (12, 50.0), (48, 25.0), (192, 12.0))  # across, and how far they are from grey
QUALITY = 85


def write_pictures(folder: Path, count: int = 64) -> Path:
    """Gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        (folder / f"{number:04}.jpg").write_bytes(_draw(random))
    return folder


def read_pictures(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]


def _draw(random: np.random.Generator) -> bytes:
    size = _choose_size(random)
    pixels = 128 + sum(_draw_cells(random, cells, size) * contrast for cells, contrast in CELLS)
    buffer = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _choose_size(random: np.random.Generator) -> tuple[int, int]:
    longer = int(random.integers(SIDES[0], SIDES[1] + 1))
    shorter = max(SIDES[0], round(longer / random.choice(RATIOS)))
    return (longer, shorter) if random.random() < 0.5 else (shorter, longer)


def _draw_cells(random: np.random.Generator, cells: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W, 3) from -1 to 1."""
    small = Image.fromarray(random.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    return np.asarray(small.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
