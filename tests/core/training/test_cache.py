from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.dataset_index import INDEX_FILE, read_index
from core.errors import InvalidInputError
from core.inference.preprocessing import make_preprocessing, prepare
from core.training.cache import SQUARES_FILE, CacheSource, PixelCache, draw_canvas, open_cache
from tests.core.training.jobs import IMAGE_SIZE, describe, make_dataset, make_sample
from tests.dataset_dirs import make_dataset_dir


def make_source(directory: Path, *, image_size: int = IMAGE_SIZE) -> CacheSource:
    if not directory.exists():
        make_dataset(directory)
    return CacheSource(directory, read_index(directory / INDEX_FILE), make_preprocessing(describe(), image_size))


class Builds:
    """Counts the pictures that were decoded."""

    def __init__(self) -> None:
        self.pictures = 0

    def __call__(self, done: int) -> None:
        self.pictures = max(self.pictures, done)


def open_counted(directory: Path) -> tuple[PixelCache, Builds]:
    builds = Builds()
    return open_cache(directory / "cache", make_source(directory / "dataset"), on_progress=builds), builds


def test_squares_are_what_predict_would_see(tmp_path: Path) -> None:
    cache, _ = open_counted(tmp_path)

    first = make_sample(0, "train", 0).image
    assert (cache.squares[0] == prepare(first, make_preprocessing(describe(), IMAGE_SIZE))).all()


def test_canvases_hold_the_whole_picture(tmp_path: Path) -> None:
    cache, _ = open_counted(tmp_path)

    assert tuple(cache.sizes[0]) == (40, 48)  # as large as a canvas allows: 1.5 × 32
    assert (cache.canvases[0, :40, :48] == np.asarray(make_sample(0, "train", 0).image)).all()
    assert not cache.canvases[0, 40:].any()


def test_only_train_entries_have_canvases(tmp_path: Path) -> None:
    cache, _ = open_counted(tmp_path)

    assert [bool(size.any()) for size in cache.sizes] == [True] * 14 + [False] * 10


def test_long_picture_is_reduced_whole() -> None:
    assert draw_canvas(Image.new("RGB", (480, 20)), 48).size == (48, 2)


def test_second_job_finds_the_cache(tmp_path: Path) -> None:
    open_counted(tmp_path)

    assert open_counted(tmp_path)[1].pictures == 0


def test_another_size_is_another_cache(tmp_path: Path) -> None:
    open_counted(tmp_path)

    cache = open_cache(tmp_path / "cache", make_source(tmp_path / "dataset", image_size=40), on_progress=Builds())

    assert cache.squares.shape[1:] == (40, 40, 3)


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    open_counted(tmp_path)
    next((tmp_path / "cache").glob(f"*/{SQUARES_FILE}")).write_bytes(b"half")

    cache, builds = open_counted(tmp_path)

    assert builds.pictures == len(cache.squares)


def test_of_two_jobs_at_once_one_builds(tmp_path: Path) -> None:
    make_dataset(tmp_path / "dataset")

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: open_counted(tmp_path), range(2)))

    assert sorted(builds.pictures for _, builds in results) == [0, 24]
    assert (results[0][0].squares == results[1][0].squares).all()


def test_damaged_shard_is_said_with_the_picture(tmp_path: Path) -> None:
    make_dataset_dir(tmp_path / "dataset", [make_sample(0, "train", 0)])
    (tmp_path / "dataset" / "shards" / "0.tar").write_bytes(b"x" * 20_000)

    with pytest.raises(InvalidInputError, match=r"0/0\.png"):
        open_counted(tmp_path)
