from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from core.training.row_files import RowFile
from tests.small_disk import can_mount, small_disk


def fill(rows: RowFile, pixels: NDArray[np.uint8]) -> None:
    for row in range(100):
        rows.write(row, pixels)


def test_rows_are_read_where_they_were_written(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)

    with closing(RowFile(tmp_path / "rows.npy", count=4, side=5)) as rows:
        rows.write(2, pixels)
        rows.write(1, pixels[:2, :4])

    array = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert (array[2, :3] == pixels).all()
    assert (array[1, :2, :4] == pixels[:2, :4]).all()
    assert (array[1, :, 4:].any(), array[2, 3:].any(), array[0].any(), array[3].any()) == (False,) * 4


def test_row_that_is_never_written_takes_no_space(tmp_path: Path) -> None:
    with closing(RowFile(tmp_path / "rows.npy", count=100, side=64)) as rows:
        rows.write(50, np.ones((64, 64, 3), dtype=np.uint8))
        rows.sync()

    status = (tmp_path / "rows.npy").stat()
    assert status.st_blocks * 512 < status.st_size / 10


@pytest.mark.skipif(not can_mount(), reason="this user may not mount a small disk")
def test_full_disk_raises(tmp_path: Path) -> None:
    pixels = np.ones((128, 128, 3), dtype=np.uint8)

    with (
        small_disk(tmp_path, mebibytes=1),
        closing(RowFile(tmp_path / "rows.npy", count=100, side=128)) as rows,
        pytest.raises(OSError, match="No space left"),
    ):
        fill(rows, pixels)
