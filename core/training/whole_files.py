"""Folders and files that appear under their name only once they are whole and on the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_directory(directory: Path) -> Iterator[Path]:
    """Yields a temporary folder to write into; it replaces `directory` at the end, and is gone after an error."""
    part = directory.with_name(directory.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    for path in [*part.iterdir(), part]:
        _sync(path)
    shutil.rmtree(directory, ignore_errors=True)
    part.rename(directory)
    _sync(directory.parent)


def replace_text(path: Path, text: str) -> None:
    """Whoever reads the file sees the old text or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    _sync(part)
    part.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
