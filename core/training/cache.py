"""Decoded pictures of a dataset, made once a host, memory-mapped, shared by all jobs.

Two arrays over all samples: `eval`, the very output of `inference.preprocessing.prepare`, and `train`, a larger centre
square to crop from. The key names everything that decides about pixels, so another size or version is another folder.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.dataset_index import INDEX_FILE, SHARDS_DIR, IndexEntry
from core.images import ImageLimits, decode_rgb
from core.inference.preprocessing import Preprocessing, crop_centre, prepare, resize_shorter_side

EVAL_FILE = "eval.npy"
TRAIN_FILE = "train.npy"
CROP_MARGIN = 256 / 224  # how much larger than its crops a picture is kept for training


class PixelCache(NamedTuple):
    """uint8 (N, S, S, 3) and (N, R, R, 3), in the order of the index."""

    eval: NDArray[np.uint8]
    train: NDArray[np.uint8]


def train_size(preprocessing: Preprocessing) -> int:
    """R: never smaller than what validation resizes to."""
    return max(preprocessing.resize_size, round(preprocessing.image_size * CROP_MARGIN))


def open_cache(
    cache_dir: Path,
    dataset_dir: Path,
    entries: list[IndexEntry],
    preprocessing: Preprocessing,
    *,
    on_progress: Callable[[int], None],
) -> PixelCache:
    """Builds it if it is not there; of two jobs that ask at once, one builds and the other waits."""
    directory = cache_dir / _make_key(dataset_dir, preprocessing)
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _locked(directory.with_suffix(".lock")):
        if not directory.exists():
            _build(directory, dataset_dir, entries, preprocessing, on_progress)
    return PixelCache(
        eval=np.load(directory / EVAL_FILE, mmap_mode="r"), train=np.load(directory / TRAIN_FILE, mmap_mode="r")
    )


def _build(
    directory: Path,
    dataset_dir: Path,
    entries: list[IndexEntry],
    preprocessing: Preprocessing,
    on_progress: Callable[[int], None],
) -> None:
    """Under a temporary name until it is whole: a folder with the final name can be trusted."""
    part = directory.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    arrays = PixelCache(
        eval=_create(part / EVAL_FILE, len(entries), preprocessing.image_size),
        train=_create(part / TRAIN_FILE, len(entries), train_size(preprocessing)),
    )

    def decode(item: tuple[int, IndexEntry]) -> None:
        index, entry = item
        image = decode_rgb(_read(dataset_dir, entry), ImageLimits())
        arrays.eval[index] = prepare(image, preprocessing)
        size = train_size(preprocessing)
        arrays.train[index] = crop_centre(resize_shorter_side(image, size, preprocessing.interpolation), size)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for done, _ in enumerate(pool.map(decode, enumerate(entries)), start=1):
            on_progress(done)
    for array in arrays:
        array.flush()  # type: ignore[attr-defined]  # open_memmap returns a memmap, typed as an array
    part.rename(directory)


def _create(path: Path, count: int, size: int) -> NDArray[np.uint8]:
    array: NDArray[np.uint8] = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, size, size, 3))
    return array


def _read(dataset_dir: Path, entry: IndexEntry) -> bytes:
    with (dataset_dir / SHARDS_DIR / entry.shard).open("rb") as file:
        file.seek(entry.offset)
        return file.read(entry.size_bytes)


def _make_key(dataset_dir: Path, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256((dataset_dir / INDEX_FILE).read_bytes())
    digest.update(preprocessing.model_dump_json(exclude={"mean", "std"}).encode())
    digest.update(str(train_size(preprocessing)).encode())
    return digest.hexdigest()[:32]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
