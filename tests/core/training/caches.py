"""Pixel caches of a small dataset, opened here or by a process of their own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.dataset_index import INDEX_FILE, read_index
from core.inference.preprocessing import Preprocessing, make_preprocessing
from core.training.cache import CacheSource, PixelCache, open_cache
from tests.core.training.jobs import IMAGE_SIZE, describe, make_dataset


class Builds:
    """Counts the pictures that were decoded."""

    def __init__(self) -> None:
        self.pictures = 0

    def __call__(self, done: int) -> None:
        self.pictures = max(self.pictures, done)


def make_source(directory: Path, *, image_size: int = IMAGE_SIZE) -> CacheSource:
    if not directory.exists():
        make_dataset(directory)
    return make_cache_source(directory, make_preprocessing(describe(), image_size))


def make_cache_source(directory: Path, preprocessing: Preprocessing) -> CacheSource:
    """Squares of all, canvases of what the index has in train."""
    entries = read_index(directory / INDEX_FILE)
    is_train = np.array([entry.split == "train" for entry in entries])
    return CacheSource(directory, entries, preprocessing, wants_square=np.ones_like(is_train), wants_canvas=is_train)


def open_counted(
    directory: Path, *, image_size: int = IMAGE_SIZE, max_bytes: int | None = None
) -> tuple[PixelCache, Builds]:
    builds = Builds()
    source = make_source(directory / "dataset", image_size=image_size)
    return open_cache(directory / "cache", source, on_progress=builds, max_bytes=max_bytes), builds


class CacheUser:
    """Another process with the same cache folder: see `cache_user`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def running_user(directory: Path, *, image_size: int = IMAGE_SIZE) -> Iterator[CacheUser]:
    source = make_source(directory / "dataset", image_size=image_size)
    arguments = [str(directory / "cache"), str(source.dataset_dir), source.preprocessing.model_dump_json()]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.core.training.cache_user", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        user = CacheUser(process)
        try:
            yield user
        finally:
            user.kill()
