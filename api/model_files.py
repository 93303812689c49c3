"""The weights of models on this host: fetched from the store once, by whichever process of it needs them first."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from core.file_lock import LockMode, locked, try_locked
from core.inference.model_card import WEIGHTS_FILE
from core.storage import Storage
from core.storage_keys import model_prefix

log = structlog.get_logger()

SUFFIX = ".safetensors"


class ModelFiles:
    """One file a model, named by its id, and a lock beside it; those used last stay."""

    def __init__(
        self,
        directory: Path,
        storage: Storage,
        *,
        capacity_bytes: int,
        find_living: Callable[[list[str]], set[str]],
    ) -> None:
        """`find_living` says which of some models were not deleted."""
        self._directory = directory
        self._storage = storage
        self._capacity_bytes = capacity_bytes
        self._find_living = find_living

    @contextmanager
    def opened(self, model_id: str, *, sha256: str) -> Iterator[Path]:
        """A file that has this SHA-256, and stays for the block; one that the disk has damaged is fetched anew."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{model_id}{SUFFIX}"
        with locked(_lock_of(path), LockMode.EXCLUSIVE, on_wait=lambda: None):
            if path.exists() and _digest(path) == sha256:
                os.utime(path)
            else:
                self._storage.download_file(model_prefix(model_id) + WEIGHTS_FILE, path, sha256=sha256)
                self._clean_up(newest=path)
            yield path

    def _clean_up(self, *, newest: Path) -> None:
        """No copy of a deleted model outlives the next download; then those go that were not used for longest."""
        others = self._list_others(newest)
        living = self._find_living([path.stem for path in others])
        used_bytes = newest.stat().st_size
        for path in sorted(others, key=lambda path: others[path].st_mtime, reverse=True):
            size_bytes = others[path].st_size
            if path.stem in living and used_bytes + size_bytes <= self._capacity_bytes:
                used_bytes += size_bytes
            else:
                _remove_if_unused(path)

    def _list_others(self, newest: Path) -> dict[Path, os.stat_result]:
        found = {}
        for path in self._directory.glob(f"*{SUFFIX}"):
            if path != newest:
                with suppress(FileNotFoundError):  # another process cleans up too
                    found[path] = path.stat()
        return found


def _remove_if_unused(path: Path) -> None:
    with try_locked(_lock_of(path), LockMode.EXCLUSIVE) as is_unused:
        if is_unused:
            path.unlink(missing_ok=True)
            log.info("model_file_removed", model_id=path.stem)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
