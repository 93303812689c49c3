import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import InvalidInputError
from core.file_lock import LockMode, try_locked
from core.inference.preprocessing import make_preprocessing, prepare
from core.training.cache import CANVASES_FILE, MANIFEST_FILE, SIZES_FILE, SQUARES_FILE, draw_canvas, open_cache
from core.training.data import SampleSet
from tests.core.training.caches import make_source, open_counted, running_user
from tests.core.training.jobs import IMAGE_SIZE, describe, make_dataset, make_sample
from tests.dataset_dirs import make_dataset_dir


def find_built(directory: Path) -> Path:
    (manifest,) = directory.glob(f"cache/*/{MANIFEST_FILE}")
    return manifest.parent


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

    cache, _ = open_counted(tmp_path, image_size=40)

    assert cache.squares.shape[1:] == (40, 40, 3)


@pytest.mark.parametrize("name", [SQUARES_FILE, CANVASES_FILE, SIZES_FILE, MANIFEST_FILE])
def test_half_a_file_is_made_again(tmp_path: Path, name: str) -> None:
    open_counted(tmp_path)
    (find_built(tmp_path) / name).write_bytes(b"half")

    cache, builds = open_counted(tmp_path)

    assert builds.pictures == len(cache.squares)


@pytest.mark.parametrize("name", [SQUARES_FILE, CANVASES_FILE, SIZES_FILE])
def test_zeroed_rows_are_made_again(tmp_path: Path, name: str) -> None:
    open_counted(tmp_path)
    np.load(find_built(tmp_path) / name, mmap_mode="r+")[3:5] = 0

    cache, builds = open_counted(tmp_path)

    assert builds.pictures == len(cache.squares)
    assert cache.squares[3:5].any(axis=(1, 2, 3)).all()


def test_damage_of_a_cache_in_use_is_made_again_beside_it(tmp_path: Path) -> None:
    used, _ = open_counted(tmp_path)
    (find_built(tmp_path) / MANIFEST_FILE).unlink()

    cache, builds = open_counted(tmp_path)

    assert builds.pictures == len(cache.squares)
    assert (used.squares == cache.squares).all()


def test_of_two_processes_at_once_one_builds(tmp_path: Path) -> None:
    with running_user(tmp_path) as builder, running_user(tmp_path) as other:
        said = {user: user.read() for user in (builder, other)}
        assert sorted(said.values()) == ["building", "waiting"]
        next(user for user in said if said[user] == "building").go_on()

        lines = [next(line for line in iter(user.read, "") if line != "waiting") for user in said]

    assert lines == ["opened", "opened"]


def test_opener_waits_for_the_evictor_and_builds(tmp_path: Path) -> None:
    open_counted(tmp_path)
    built = find_built(tmp_path)
    evictor = ExitStack()
    evictor.enter_context(try_locked(built.with_suffix(".lock"), LockMode.EXCLUSIVE))

    def finish_eviction(done: int) -> None:
        if done == 0:
            shutil.rmtree(built)
            evictor.close()

    cache = open_cache(tmp_path / "cache", make_source(tmp_path / "dataset"), on_progress=finish_eviction)

    assert cache.squares.any(axis=(1, 2, 3)).all()


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


def test_only_what_is_wanted_is_drawn(tmp_path: Path) -> None:
    source = make_source(tmp_path / "dataset")
    is_even = np.arange(24) % 2 == 0

    cache = open_cache(
        tmp_path / "cache",
        source._replace(wants_square=is_even, wants_canvas=~is_even),
        on_progress=lambda _: None,
    )

    assert (cache.squares.any(axis=(1, 2, 3)) == is_even).all()
    assert (cache.sizes.any(axis=1) == ~is_even).all()


def test_other_wants_are_another_cache(tmp_path: Path) -> None:
    source = make_source(tmp_path / "dataset")
    nothing = np.zeros(24, dtype=np.bool_)
    open_cache(tmp_path / "cache", source._replace(wants_square=nothing), on_progress=lambda _: None)

    assert open_cache(tmp_path / "cache", source, on_progress=lambda _: None).squares.any()


def test_square_that_nobody_asked_for_is_no_black_picture(tmp_path: Path) -> None:
    source = make_source(tmp_path / "dataset")
    nothing = np.zeros(24, dtype=np.bool_)
    cache = open_cache(tmp_path / "cache", source._replace(wants_square=nothing), on_progress=lambda _: None)
    samples = SampleSet(cache, np.arange(24), torch.zeros(24, dtype=torch.int64), ["x"] * 24, ["x"] * 24)

    with pytest.raises(ValueError, match="was not asked for"):
        samples.read_squares(np.arange(2))
