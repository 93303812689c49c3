"""A dataset as an import leaves it, of made-up pictures that can be learnt: each class has stripes of its own slope."""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from core.dataset_index import INDEX_FILE, IndexEntry, Split, write_index
from core.ingest.shards import ShardPair

SHARD_BYTES = 2**30


def make_dataset(directory: Path, *, num_classes: int, per_class: int, side: int) -> list[str]:
    """A fifth of the pictures tests. Returns the names of the classes."""
    random = np.random.default_rng(0)
    entries = []
    with ShardPair(directory, SHARD_BYTES) as shards:
        for number in range(num_classes * per_class):
            label = number % num_classes
            content = _encode(_draw_stripes(random, label, num_classes, side))
            sha256 = hashlib.sha256(content).hexdigest()
            location = shards.pictures.write(f"{number}.jpg", content)
            split: Split = "test" if number // num_classes % 5 == 0 else "train"
            entries.append(
                IndexEntry(
                    sample_id=f"{number:032x}",
                    shard=f"{location.number}.tar",
                    offset=location.offset,
                    size_bytes=location.size_bytes,
                    label=label,
                    split=split,
                    width=side,
                    height=side,
                    sha256=sha256,
                    path=f"{label}/{number}.jpg",
                    duplicate_group=sha256,
                )
            )
    write_index(directory / INDEX_FILE, entries)
    return [f"class-{label}" for label in range(num_classes)]


def _draw_stripes(random: np.random.Generator, label: int, num_classes: int, side: int) -> Image.Image:
    angle = np.pi * (label + 0.6 * random.random()) / num_classes
    rows, columns = np.mgrid[0:side, 0:side] / side
    wave = np.sin(30 * (np.cos(angle) * columns + np.sin(angle) * rows) + 6 * random.random())
    noisy = 128 + 60 * wave[:, :, None] * random.random(3) + random.normal(0, 20, (side, side, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
