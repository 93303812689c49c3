"""Dataset folders as the importer leaves them, made directly from pictures."""

import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from core.dataset_index import INDEX_FILE, SHARDS_DIR, IndexEntry, Split, write_index


class Labelled(NamedTuple):
    image: Image.Image
    label: int
    split: Split = "train"


def make_dataset_dir(directory: Path, samples: Iterable[Labelled]) -> Path:
    shards = directory / SHARDS_DIR
    shards.mkdir(parents=True)
    entries = []
    with tarfile.open(shards / "0.tar", "w") as tar:
        for number, sample in enumerate(samples):
            content = encode_png(sample.image)
            info = tarfile.TarInfo(f"{number}.png")
            info.size = len(content)
            offset = tar.offset + tarfile.BLOCKSIZE
            tar.addfile(info, io.BytesIO(content))
            entries.append(make_entry(number, sample, offset=offset, content=content))
    write_index(directory / INDEX_FILE, entries)
    return directory


def make_entry(number: int, sample: Labelled, *, offset: int, content: bytes) -> IndexEntry:
    sha256 = hashlib.sha256(content).hexdigest()
    return IndexEntry(
        sample_id=f"sample-{number}",
        shard="0.tar",
        offset=offset,
        size_bytes=len(content),
        label=sample.label,
        split=sample.split,
        width=sample.image.width,
        height=sample.image.height,
        sha256=sha256,
        path=f"{sample.label}/{number}.png",
        duplicate_group=sha256,
    )


def encode_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
