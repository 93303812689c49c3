"""Keeps the pixel caches of a host within a bound: what was used last goes last, what is in use stays.

Beside each folder lies its lock file, `{key}.lock`: whoever builds or reads the folder shares that lock, and only who
holds it alone may take the folder away. Lock files stay: removing one would let two processes lock different files
of one name. A folder goes by a rename and then in pieces, so that a half removed one is never opened.
"""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from core.file_lock import LockMode, locked, try_locked

LOCK_SUFFIX = ".lock"
PART_SUFFIX = ".part"  # as `whole_directory` names what is being built
EXPECTED_BYTES_FILE = "expected_bytes"  # in a folder that is being built: what it will take
EVICTED_SUFFIX = ".evicted"
EVICTION_LOCK_FILE = "eviction_lock"  # no key's
BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's

log = logging.getLogger(__name__)


def make_room(cache_dir: Path, max_bytes: int | None, *, on_wait: Callable[[], None]) -> None:
    """Removes what dead processes left, and caches until all, those being built as they will be, fit `max_bytes`.

    Call it when the expected bytes are written down: then of two builders each counts the other's.
    """
    with locked(cache_dir / EVICTION_LOCK_FILE, LockMode.EXCLUSIVE, on_wait=on_wait):
        _remove_leftovers(cache_dir)
        if max_bytes is not None:
            _evict(cache_dir, max_bytes)


def _remove_leftovers(cache_dir: Path) -> None:
    for evicted in cache_dir.glob(f"*{EVICTED_SUFFIX}"):  # its evictor is dead: evictions take turns
        shutil.rmtree(evicted, ignore_errors=True)
    for part in cache_dir.glob(f"*{PART_SUFFIX}"):
        with try_locked(part.with_suffix(LOCK_SUFFIX), LockMode.EXCLUSIVE) as unused:
            if unused:
                shutil.rmtree(part, ignore_errors=True)


def _evict(cache_dir: Path, max_bytes: int) -> None:
    # by lock files: a folder that takes its final name meanwhile is not missed
    directories = [path.with_suffix("") for path in cache_dir.glob(f"*{LOCK_SUFFIX}")]
    excess_bytes = sum(_measure_bytes(directory) for directory in directories) - max_bytes
    for directory in sorted(directories, key=_read_last_used):
        if excess_bytes <= 0:
            return
        excess_bytes -= _try_remove(directory)
    if excess_bytes > 0:
        log.warning("pixel caches in use may exceed their bound of %d bytes by %d", max_bytes, excess_bytes)


def _try_remove(directory: Path) -> int:
    """The bytes that are free now: none of a folder in use."""
    evicted = directory.with_suffix(EVICTED_SUFFIX)
    freed_bytes = _measure_used_bytes(directory)
    with try_locked(directory.with_suffix(LOCK_SUFFIX), LockMode.EXCLUSIVE) as unused:
        if not unused:
            return 0
        try:
            directory.rename(evicted)
        except OSError:  # never built, or not ours to move: a job does not fail for the bound
            return 0
    shutil.rmtree(evicted, ignore_errors=True)
    return freed_bytes


def _measure_bytes(directory: Path) -> int:
    # in this order: what moves from the one to the other meanwhile counts twice, not never
    return _read_expected_bytes(directory.with_suffix(PART_SUFFIX)) + _measure_used_bytes(directory)


def _read_expected_bytes(part: Path) -> int:
    try:
        return int((part / EXPECTED_BYTES_FILE).read_text() or 0)
    except FileNotFoundError:  # nothing is being built there, or just begun
        return 0


def _measure_used_bytes(directory: Path) -> int:
    return sum(status.st_blocks * BLOCK_BYTES for status in _list_files(directory))


def _list_files(directory: Path) -> list[os.stat_result]:
    try:
        return [path.stat() for path in directory.iterdir()]
    except FileNotFoundError:  # never there, or just gone
        return []


def _read_last_used(directory: Path) -> int:
    try:
        return directory.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
