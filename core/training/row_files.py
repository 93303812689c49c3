"""`.npy` files of many squares, filled in any order by several threads.

By writes, not through a mapping: there each page of a file costs a fault and the disk's own bookkeeping, as much time
as the decode of a small picture, and a full disk ends the process instead of raising.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class RowFile:
    """uint8 (count, side, side, 3); what is never written is a hole that reads as zeros."""

    def __init__(self, path: Path, *, count: int, side: int) -> None:
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, side, side, 3))
        self.side = side
        self._start = array.offset
        self._row_bytes = side * side * 3
        self._handle = os.open(path, os.O_WRONLY)

    def write(self, row: int, pixels: NDArray[np.uint8]) -> None:
        """(H, W, 3) into the top left corner of a square of its own. Raises OSError on a full disk."""
        height, width, _ = pixels.shape
        rows = np.zeros((height, self.side, 3), dtype=np.uint8)
        rows[:, :width] = pixels
        left = memoryview(rows.tobytes())
        offset = self._start + row * self._row_bytes
        while left:
            written = os.pwrite(self._handle, left, offset)
            left, offset = left[written:], offset + written

    def sync(self) -> None:
        """To the disk, what was written so far."""
        os.fsync(self._handle)

    def close(self) -> None:
        os.close(self._handle)
