"""Folders of attempts on this host, and the removal of what killed workers left."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from core.runs.types import Claim

LOCK_FILE = "lock"
NEW = ".new"


class WorkDirs:
    """One folder a worker, locked for as long as the worker lives; a folder that can be locked has lost its worker."""

    def __init__(self, root: Path, worker_id: str) -> None:
        self._root = root.absolute()
        self.own = self._root / worker_id
        self._lock: TextIO | None = None

    def open(self) -> None:
        new = self.own.with_suffix(NEW)
        new.mkdir(parents=True)
        self._lock = _try_lock(new)
        new.rename(self.own)  # from the first moment under this name it is locked
        for path in self._root.iterdir():
            if path.suffix != NEW:
                _remove_if_lost(path)

    def close(self) -> None:
        shutil.rmtree(self.own, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def attempt(self, held: Claim) -> Iterator[Path]:
        """A folder of this attempt alone, gone when it ends."""
        path = self.own / f"{held.run_id}-{held.attempt}"
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _try_lock(directory: Path) -> TextIO | None:
    file = (directory / LOCK_FILE).open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _remove_if_lost(directory: Path) -> None:
    try:
        lock = _try_lock(directory)
    except FileNotFoundError:  # another worker removes it
        return
    if lock is not None:
        shutil.rmtree(directory, ignore_errors=True)
        lock.close()
