"""Homes for local stacks."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def stack_home() -> Iterator[Path]:
    """Not `tmp_path`: PostgreSQL's user could not enter it when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="bitune-home-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)
