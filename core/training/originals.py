"""The pictures of a dataset as they were imported."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.dataset_index import SHARDS_DIR, IndexEntry
from core.errors import InvalidInputError
from core.images import ImageError, ImageLimits, decode_rgb
from core.inference.preprocessing import Preprocessing, prepare


def read_original(dataset_dir: Path, entry: IndexEntry) -> Image.Image:
    """Decoded within the limits of an import; raises InvalidInputError where the bytes are no picture any more."""
    with (dataset_dir / SHARDS_DIR / entry.shard).open("rb") as file:
        file.seek(entry.offset)
        content = file.read(entry.size_bytes)
    try:
        return decode_rgb(content, ImageLimits())
    except ImageError as exc:  # the import checked it: the shard is damaged
        raise InvalidInputError(
            "sample_unreadable", f"{entry.path}: {exc.message}", hint="import the dataset again"
        ) from exc


def read_square(dataset_dir: Path, entry: IndexEntry, preprocessing: Preprocessing) -> NDArray[np.uint8] | None:
    """(S, S, 3), what predict makes of the same bytes; None where they are gone, or no picture any more."""
    try:
        return prepare(read_original(dataset_dir, entry), preprocessing)
    except (InvalidInputError, OSError):
        return None
