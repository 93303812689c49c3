import errno
import shutil
from pathlib import Path

import pytest

from core.disk import is_disk_full, require_space


def test_space_that_is_there_is_fine(tmp_path: Path) -> None:
    require_space(tmp_path, 1)


def test_space_that_is_not_there_is_what_writing_would_say(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="are needed and") as caught:
        require_space(tmp_path, shutil.disk_usage(tmp_path).free)

    assert is_disk_full(caught.value)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EIO, "Input/output error"), False),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("Error while serializing: I/O error: (os error 5)"), False),
    ],
)
def test_full_disks_are_told_from_other_errors(error: Exception, full: bool) -> None:
    assert is_disk_full(error) is full
