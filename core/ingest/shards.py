"""Writes pictures as they came into uncompressed tar shards, and says where each one lies."""

import tarfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from core.dataset_index import SHARDS_DIR

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)


class Location(NamedTuple):
    shard: str
    offset: int


class ShardWriter:
    """`shards/0.tar`, `shards/1.tar` …; a new one begins where the next picture would exceed `shard_bytes`."""

    def __init__(self, out_dir: Path, shard_bytes: int) -> None:
        self._directory = out_dir / SHARDS_DIR
        self._directory.mkdir(parents=True)
        self._shard_bytes = shard_bytes
        self._file: BinaryIO | None = None
        self.num_shards = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def write(self, name: str, content: bytes) -> Location:
        padding = bytes(-len(content) % BLOCK_BYTES)
        file = self._open_for(BLOCK_BYTES + len(content) + len(padding))
        header = tarfile.TarInfo(name)
        header.size = len(content)
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        location = Location(shard=Path(file.name).name, offset=file.tell())
        file.write(content)
        file.write(padding)
        return location

    def _open_for(self, size_bytes: int) -> BinaryIO:
        if self._file is not None and self._file.tell() + size_bytes + len(END) > self._shard_bytes:
            self._close()
        if self._file is None:
            self._file = (self._directory / f"{self.num_shards}.tar").open("xb")
            self.num_shards += 1
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            self._file.write(END)
            self._file.close()
            self._file = None
