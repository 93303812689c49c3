"""Memory that a decoding child fills and the API reads."""

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

SHARED_BYTES = 1024 * 1024 * 3  # the largest input of a network: 1,024 pixels a side


@contextmanager
def open_shared() -> Iterator[int]:
    """A descriptor of SHARED_BYTES, to map or to hand on within the block.

    On Linux nobody can shorten it: to read what a child has cut off would kill the API.
    """
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            file.truncate(SHARED_BYTES)
            yield file.fileno()
        return
    descriptor = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, SHARED_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        yield descriptor
    finally:
        os.close(descriptor)
