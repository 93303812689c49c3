import os
from pathlib import Path

import pytest

from core.training.cache import CANVASES_FILE, SQUARES_FILE
from core.training.cache_eviction import BLOCK_BYTES
from tests.core.training.caches import open_counted, running_user

OTHER_SIZE = 40
THIRD_SIZE = 48


def build(directory: Path, image_size: int, *, max_bytes: int | None = None) -> Path:
    """Leaves a cache that nobody uses."""
    before = set(list_caches(directory))
    open_counted(directory, image_size=image_size, max_bytes=max_bytes)
    (built,) = set(list_caches(directory)) - before
    return built


def list_caches(directory: Path) -> list[Path]:
    return [path for path in (directory / "cache").glob("*") if path.is_dir() and not path.suffix]


def measure_used_bytes(cache: Path) -> int:
    return sum(path.stat().st_blocks * BLOCK_BYTES for path in cache.iterdir())


def measure_full_bytes(directory: Path, image_size: int) -> int:
    """What a build of this size sets aside."""
    cache = build(directory / "elsewhere", image_size)
    return sum((cache / name).stat().st_size for name in (SQUARES_FILE, CANVASES_FILE))


def test_least_recently_used_is_evicted(tmp_path: Path) -> None:
    reopened, untouched = build(tmp_path, 32), build(tmp_path, OTHER_SIZE)
    os.utime(reopened, (1, 1))
    os.utime(untouched, (2, 2))
    open_counted(tmp_path, image_size=32)

    build(tmp_path, THIRD_SIZE, max_bytes=measure_used_bytes(reopened) + measure_full_bytes(tmp_path, THIRD_SIZE))

    assert reopened.exists()
    assert not untouched.exists()


def test_holes_do_not_count(tmp_path: Path) -> None:
    cache = build(tmp_path, THIRD_SIZE)
    max_bytes = measure_used_bytes(cache) + measure_full_bytes(tmp_path, 32)

    build(tmp_path, 32, max_bytes=max_bytes)

    assert measure_used_bytes(cache) < measure_full_bytes(tmp_path / "again", THIRD_SIZE)
    assert cache.exists()


def test_without_a_bound_nothing_is_evicted(tmp_path: Path) -> None:
    for image_size in (32, OTHER_SIZE, THIRD_SIZE):
        build(tmp_path, image_size)

    assert len(list_caches(tmp_path)) == 3


def test_cache_that_is_found_evicts_nothing(tmp_path: Path) -> None:
    build(tmp_path, 32)
    build(tmp_path, OTHER_SIZE)

    open_counted(tmp_path, max_bytes=1)

    assert len(list_caches(tmp_path)) == 2


def test_cache_of_a_living_process_stays_and_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    used = build(tmp_path, 32)
    with running_user(tmp_path) as user:
        assert user.read() == "opened"
        build(tmp_path, OTHER_SIZE, max_bytes=1)

    assert used.exists()
    assert "may exceed their bound of 1 bytes" in caplog.text


def test_cache_of_a_killed_process_is_evicted(tmp_path: Path) -> None:
    used = build(tmp_path, 32)
    with running_user(tmp_path) as user:
        assert user.read() == "opened"
        user.kill()

        build(tmp_path, OTHER_SIZE, max_bytes=1)

    assert not used.exists()


def test_cache_is_in_use_while_it_lives(tmp_path: Path) -> None:
    cache, _ = open_counted(tmp_path)
    (used,) = list_caches(tmp_path)

    build(tmp_path, OTHER_SIZE, max_bytes=1)
    assert used.exists()

    del cache
    build(tmp_path, THIRD_SIZE, max_bytes=1)
    assert not used.exists()


def test_build_of_another_process_counts_in_full(tmp_path: Path) -> None:
    idle = build(tmp_path, THIRD_SIZE)
    with running_user(tmp_path) as builder:
        assert builder.read() == "building"
        max_bytes = measure_used_bytes(idle) + measure_full_bytes(tmp_path, OTHER_SIZE)
        build(tmp_path, OTHER_SIZE, max_bytes=max_bytes)
        builder.go_on()
        assert builder.read() == "opened"

    assert not idle.exists()


def test_leftover_of_a_killed_builder_is_removed(tmp_path: Path) -> None:
    with running_user(tmp_path) as builder:
        assert builder.read() == "building"
        builder.kill()
    (part,) = (tmp_path / "cache").glob("*.part")

    build(tmp_path, OTHER_SIZE)

    assert not part.exists()


def test_leftover_of_a_dead_evictor_is_removed(tmp_path: Path) -> None:
    cache = build(tmp_path, 32)
    evicted = cache.rename(cache.with_suffix(".evicted"))

    open_counted(tmp_path)

    assert cache.exists()
    assert not evicted.exists()
