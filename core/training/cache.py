"""Decoded pictures of a dataset, made once a host, memory-mapped, shared by all jobs.

Two arrays over all samples, both uint8 and channels last. `squares` are the very output of `inference.preprocessing`,
for validation and test. `canvases` are what training crops from: the whole picture with its aspect kept, its longer
side at most L = 1.5 S (never enlarged), in the top left corner of an L × L canvas, so that a random crop sees what it
would see in the original. Most pictures need one of the two: either takes as long as the decode. The rows that nobody
asked for are holes of the file and take no space.

The folder's name is a hash of everything that decides about pixels; another size, version or validation split is
another folder.
Its time of change is when it was opened last; its locks and its end are told in `cache_eviction`.
"""

import hashlib
import os
import shutil
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from core.dataset_index import INDEX_FILE, IndexEntry
from core.file_lock import LockMode, locked
from core.inference.preprocessing import Preprocessing, prepare
from core.training.cache_eviction import EXPECTED_BYTES_FILE, LOCK_SUFFIX, make_room
from core.training.originals import read_original
from core.training.row_files import RowFile
from core.training.whole_files import whole_directory

VERSION = 1
CANVAS_SHARE = 1.5  # L / S: a small crop of a large picture is then not enlarged, an average one not reduced by much
SQUARES_FILE = "squares.npy"
CANVASES_FILE = "canvases.npy"
SIZES_FILE = "sizes.npy"
ARRAY_FILES = (SQUARES_FILE, CANVASES_FILE, SIZES_FILE)
MANIFEST_FILE = "manifest.json"
BUILD_LOCK_SUFFIX = ".build_lock"
CHECKED_BLOCKS = 256  # of each file: damage that is longer than this share of it is always seen
CHECKED_BLOCK_BYTES = 32 * 1024  # a file of up to 8 MiB is read whole


@dataclass(frozen=True, eq=False)
class PixelCache:
    """In the order of the index; an opened one is in use, and not evicted, for as long as it lives."""

    squares: NDArray[np.uint8]  # (N, S, S, 3); zeros where the source wants none
    canvases: NDArray[np.uint8]  # (N, L, L, 3)
    sizes: NDArray[np.int64]  # (N, 2) height and width of the picture on its canvas; 0 where there is none
    has_square: NDArray[np.bool_]  # (N,)


class CacheSource(NamedTuple):
    """What a cache is made from."""

    dataset_dir: Path
    entries: list[IndexEntry]
    preprocessing: Preprocessing
    wants_square: NDArray[np.bool_]  # (N,)
    wants_canvas: NDArray[np.bool_]  # (N,)

    @property
    def size_bytes(self) -> int:
        """Of the cache, at most: a small picture does not fill its canvas."""
        square = 3 * self.preprocessing.image_size**2
        canvas = 3 * round(CANVAS_SHARE * self.preprocessing.image_size) ** 2
        return int(self.wants_square.sum()) * square + int(self.wants_canvas.sum()) * canvas


class Manifest(BaseModel):
    """What the files must be, to notice a damaged cache."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checksums: dict[str, str]  # by file name


def open_cache(
    cache_dir: Path, source: CacheSource, *, on_progress: Callable[[int], None], max_bytes: int | None = None
) -> PixelCache:
    """Builds what is not there or not whole; of two jobs that ask at once, one builds and the other waits.

    `on_progress` gets the number of pictures done, now and then also while waiting; it may raise to give up.
    A build evicts caches that nobody uses until all fit `max_bytes`; what still does not fit is built nevertheless.
    """
    directory = cache_dir / _make_key(source)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(locked(directory.with_suffix(LOCK_SUFFIX), LockMode.SHARED, on_wait=lambda: on_progress(0)))
        _ensure_whole(directory, source, on_progress, max_bytes)
        os.utime(directory)
        squares, canvases, sizes = (np.load(directory / name, mmap_mode="r") for name in ARRAY_FILES)
        cache = PixelCache(squares, canvases, sizes, source.wants_square)
        weakref.finalize(cache, stack.pop_all().close)
    return cache


def draw_canvas(image: Image.Image, side: int) -> Image.Image:
    """The whole picture with its longer side at most `side`; a smaller picture stays as it is."""
    if max(image.size) <= side:
        return image
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _ensure_whole(
    directory: Path, source: CacheSource, on_progress: Callable[[int], None], max_bytes: int | None
) -> None:
    with locked(directory.with_suffix(BUILD_LOCK_SUFFIX), LockMode.EXCLUSIVE, on_wait=lambda: on_progress(0)):
        if not _is_whole(directory):
            shutil.rmtree(directory, ignore_errors=True)  # who still reads it keeps the files
            _build(directory, source, on_progress, max_bytes)


def _build(directory: Path, source: CacheSource, on_progress: Callable[[int], None], max_bytes: int | None) -> None:
    with whole_directory(directory) as part:
        (part / EXPECTED_BYTES_FILE).write_text(str(source.size_bytes))
        with closing(_Builder(part, source)) as builder:
            make_room(directory.parent, max_bytes, on_wait=lambda: on_progress(0))
            builder.fill(on_progress)
        np.save(part / SIZES_FILE, builder.sizes)
        manifest = Manifest(checksums={name: _make_checksum(part / name) for name in ARRAY_FILES})
        (part / MANIFEST_FILE).write_text(manifest.model_dump_json())


class _Builder:
    """Decodes each picture once, and draws what is wanted of it."""

    def __init__(self, directory: Path, source: CacheSource) -> None:
        count, size = len(source.entries), source.preprocessing.image_size
        self._source = source
        self._squares = RowFile(directory / SQUARES_FILE, count=count, side=size)
        self._canvases = RowFile(directory / CANVASES_FILE, count=count, side=round(CANVAS_SHARE * size))
        self.sizes = np.zeros((count, 2), dtype=np.int64)

    def fill(self, on_progress: Callable[[int], None]) -> None:
        """The disk works along: to write all of it at the end would take a sixth of the time once more."""
        pool, syncer = ThreadPoolExecutor(os.cpu_count() or 1), ThreadPoolExecutor(1)
        synced = syncer.submit(self._sync)
        try:
            for done, _ in enumerate(pool.map(self._draw, range(len(self.sizes))), start=1):
                on_progress(done)
                if synced.done():
                    synced.result()  # what could not be written is told once, to who asks first
                    synced = syncer.submit(self._sync)
            synced.result()
            self._sync()
        finally:
            pool.shutdown(cancel_futures=True)
            syncer.shutdown()

    def close(self) -> None:
        self._squares.close()
        self._canvases.close()

    def _sync(self) -> None:
        self._squares.sync()
        self._canvases.sync()

    def _draw(self, row: int) -> None:
        image = read_original(self._source.dataset_dir, self._source.entries[row])
        if self._source.wants_square[row]:
            self._squares.write(row, prepare(image, self._source.preprocessing))
        if self._source.wants_canvas[row]:
            drawn = draw_canvas(image, self._canvases.side)
            self.sizes[row] = drawn.height, drawn.width
            self._canvases.write(row, np.asarray(drawn))


def _is_whole(directory: Path) -> bool:
    try:
        manifest = Manifest.model_validate_json((directory / MANIFEST_FILE).read_bytes())
        return all(_make_checksum(directory / name) == manifest.checksums[name] for name in ARRAY_FILES)
    except (OSError, ValueError, KeyError):  # a file is not there, or the manifest is damaged
        return False


def _make_checksum(path: Path) -> str:
    """Of the length and of blocks all over the file, so that it takes no longer for a large one."""
    size_bytes = path.stat().st_size
    digest = hashlib.sha256(str(size_bytes).encode())
    with path.open("rb") as file:
        for offset in range(0, size_bytes, max(CHECKED_BLOCK_BYTES, size_bytes // CHECKED_BLOCKS)):
            file.seek(offset)
            digest.update(file.read(CHECKED_BLOCK_BYTES))
    return digest.hexdigest()


def _make_key(source: CacheSource) -> str:
    digest = hashlib.sha256((source.dataset_dir / INDEX_FILE).read_bytes())
    digest.update(source.preprocessing.model_dump_json(exclude={"mean", "std"}).encode())
    digest.update(f"{VERSION} {CANVAS_SHARE}".encode())
    digest.update(np.packbits([source.wants_square, source.wants_canvas]).tobytes())
    return digest.hexdigest()[:32]
