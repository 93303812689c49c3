"""The index of an imported dataset: what the importer writes and everything after it reads."""

import gzip
from collections.abc import Iterable
from io import BufferedWriter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

COMPRESS_LEVEL = 1
INDEX_FILE = "index.jsonl.gz"
SHARDS_DIR = "shards"
THUMBNAILS_DIR = "thumbnails"

Split = Literal["train", "val", "test"]


class IndexEntry(BaseModel):
    """One picture: its original bytes are `shards/{shard}` [offset : offset + size_bytes]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_id: str
    shard: str  # "0.tar"
    offset: int
    size_bytes: int
    label: int  # index into the dataset's classes
    split: Split
    width: int  # after EXIF orientation
    height: int
    sha256: str  # of the original bytes
    path: str  # in the archive, NFC
    duplicate_group: str  # equal for pictures that look the same; splits never cut a group


def write_index(path: Path, entries: Iterable[IndexEntry]) -> None:
    # mtime=0: the same entries give the same bytes; most of them are hashes, which no level makes smaller
    with gzip.GzipFile(path, "wb", compresslevel=COMPRESS_LEVEL, mtime=0) as file, BufferedWriter(file) as buffer:
        for entry in entries:
            buffer.write(entry.model_dump_json().encode() + b"\n")


def read_index(path: Path) -> list[IndexEntry]:
    return parse_index(path.read_bytes())


def parse_index(content: bytes) -> list[IndexEntry]:
    return [IndexEntry.model_validate_json(line) for line in gzip.decompress(content).splitlines()]
