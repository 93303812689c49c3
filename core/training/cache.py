"""Decoded pictures of a dataset, made once a host, memory-mapped, shared by all jobs.

Two arrays over all samples, both uint8 and channels last. `squares` are the very output of `inference.preprocessing`,
for validation and test. `canvases` are what training crops from: the whole picture with its aspect kept, its longer
side at most L = 1.5 S (never enlarged), in the top left corner of an L × L canvas, so that a random crop sees what it
would see in the original. Rows that no crop will ever be taken from are holes of the file and take no space.

The folder's name is a hash of everything that decides about pixels; another size or version is another folder.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from core.dataset_index import INDEX_FILE, SHARDS_DIR, IndexEntry
from core.errors import InvalidInputError
from core.images import ImageError, ImageLimits, decode_rgb
from core.inference.preprocessing import Preprocessing, prepare
from core.training.whole_files import whole_directory

VERSION = 1
CANVAS_SHARE = 1.5  # L / S: the average crop of a large picture is then neither enlarged nor reduced much
SQUARES_FILE = "squares.npy"
CANVASES_FILE = "canvases.npy"
SIZES_FILE = "sizes.npy"
MANIFEST_FILE = "manifest.json"
LOCK_POLL_SECONDS = 0.2


class PixelCache(NamedTuple):
    """In the order of the index."""

    squares: NDArray[np.uint8]  # (N, S, S, 3)
    canvases: NDArray[np.uint8]  # (N, L, L, 3)
    sizes: NDArray[np.int64]  # (N, 2) height and width of the picture on its canvas; 0 where there is none


class CacheSource(NamedTuple):
    """What a cache is made from."""

    dataset_dir: Path
    entries: list[IndexEntry]  # as indexed: without a job's own validation split
    preprocessing: Preprocessing


class Manifest(BaseModel):
    """The sizes of the files, to notice a damaged cache."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes_bytes: dict[str, int]


def open_cache(cache_dir: Path, source: CacheSource, *, on_progress: Callable[[int], None]) -> PixelCache:
    """Builds what is not there or not whole; of two jobs that ask at once, one builds and the other waits.

    `on_progress` gets the number of pictures done, now and then also while waiting; it may raise to give up.
    """
    directory = cache_dir / _make_key(source)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _locked(directory.with_suffix(".lock"), on_wait=lambda: on_progress(0)):
        if not _is_whole(directory):
            _build(directory, source, on_progress)
    return PixelCache(*(np.load(directory / name, mmap_mode="r") for name in (SQUARES_FILE, CANVASES_FILE, SIZES_FILE)))


def draw_canvas(image: Image.Image, side: int) -> Image.Image:
    """The whole picture with its longer side at most `side`; a smaller picture stays as it is."""
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _build(directory: Path, source: CacheSource, on_progress: Callable[[int], None]) -> None:
    with whole_directory(directory) as part:
        size = source.preprocessing.image_size
        cache = PixelCache(
            squares=_create(part / SQUARES_FILE, len(source.entries), size),
            canvases=_create(part / CANVASES_FILE, len(source.entries), round(CANVAS_SHARE * size)),
            sizes=np.zeros((len(source.entries), 2), dtype=np.int64),
        )
        _fill(cache, source, on_progress)
        np.save(part / SIZES_FILE, cache.sizes)
        manifest = Manifest(sizes_bytes={path.name: path.stat().st_size for path in part.iterdir()})
        (part / MANIFEST_FILE).write_text(manifest.model_dump_json())


def _fill(cache: PixelCache, source: CacheSource, on_progress: Callable[[int], None]) -> None:
    def decode(row: int) -> None:
        _decode_into(cache, row, source)

    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for done, _ in enumerate(pool.map(decode, range(len(source.entries))), start=1):
            on_progress(done)
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_into(cache: PixelCache, row: int, source: CacheSource) -> None:
    entry = source.entries[row]
    image = _decode(source.dataset_dir, entry)
    cache.squares[row] = prepare(image, source.preprocessing)
    if entry.split == "train":
        drawn = draw_canvas(image, cache.canvases.shape[1])
        cache.sizes[row] = drawn.height, drawn.width
        cache.canvases[row, : drawn.height, : drawn.width] = np.asarray(drawn)


def _decode(dataset_dir: Path, entry: IndexEntry) -> Image.Image:
    with (dataset_dir / SHARDS_DIR / entry.shard).open("rb") as file:
        file.seek(entry.offset)
        content = file.read(entry.size_bytes)
    try:
        return decode_rgb(content, ImageLimits())
    except ImageError as exc:  # the import checked it: the shard is damaged
        raise InvalidInputError(
            "sample_unreadable", f"{entry.path}: {exc.message}", hint="import the dataset again"
        ) from exc


def _create(path: Path, count: int, side: int) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, side, side, 3))
    return array


def _is_whole(directory: Path) -> bool:
    manifest = directory / MANIFEST_FILE
    if not manifest.exists():
        return False
    sizes = Manifest.model_validate_json(manifest.read_text()).sizes_bytes
    return all((directory / name).exists() and (directory / name).stat().st_size == sizes[name] for name in sizes)


def _make_key(source: CacheSource) -> str:
    digest = hashlib.sha256((source.dataset_dir / INDEX_FILE).read_bytes())
    digest.update(source.preprocessing.model_dump_json(exclude={"mean", "std"}).encode())
    digest.update(f"{VERSION} {CANVAS_SHARE}".encode())
    return digest.hexdigest()[:32]


@contextmanager
def _locked(path: Path, *, on_wait: Callable[[], None]) -> Iterator[None]:
    with path.open("w") as file:
        while not _try_lock(file.fileno()):
            on_wait()
            time.sleep(LOCK_POLL_SECONDS)
        yield


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
