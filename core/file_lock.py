"""Locks between the processes of a host: flock on files that are never removed, free again when their process ends."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

POLL_SECONDS = 0.2


class LockMode(IntEnum):
    SHARED = fcntl.LOCK_SH
    EXCLUSIVE = fcntl.LOCK_EX


@contextmanager
def locked(path: Path, mode: LockMode, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """`on_wait` is called now and then until the lock is had; it may raise to give up."""
    with _opened(path) as handle:
        while not _try_lock(handle, mode):
            on_wait()
            time.sleep(POLL_SECONDS)  # a blocking flock could neither call `on_wait` nor be given up
        yield


@contextmanager
def try_locked(path: Path, mode: LockMode) -> Iterator[bool]:
    """Yields whether the lock was free."""
    with _opened(path) as handle:
        yield _try_lock(handle, mode)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield handle
    finally:
        os.close(handle)  # no LOCK_UN: in a forked child it would unlock the parent's


def _try_lock(handle: int, mode: LockMode) -> bool:
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
