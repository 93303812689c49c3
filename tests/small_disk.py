"""A disk that can be filled up, where this user may mount one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path


@contextmanager
def small_disk(path: Path, *, mebibytes: int) -> Iterator[None]:
    """At `path`, an empty folder."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@cache
def can_mount() -> bool:
    """A container's root may not either."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    try:
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder), mebibytes=1):
            return True
    except subprocess.CalledProcessError:
        return False
