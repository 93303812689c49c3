"""A full disk: asked about before much is written, and told from other errors when it happens."""

import errno
import shutil
from pathlib import Path

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
RESERVE_BYTES = 16 * 1024**2  # left for logs and the like


def require_space(directory: Path, size_bytes: int) -> None:
    """Raises the error that writing would end with; `directory` exists."""
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < size_bytes + RESERVE_BYTES:
        raise OSError(errno.ENOSPC, f"{size_bytes} bytes are needed and {free_bytes} are free", str(directory))


def is_disk_full(error: Exception) -> bool:
    """Libraries in Rust know the number of the error, but say it only in their text."""
    if isinstance(error, OSError):
        return error.errno in FULL_DISK
    return any(f"(os error {number})" in str(error) for number in FULL_DISK)
