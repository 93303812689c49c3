"""An upload goes through the API with a few parts of it in memory, and none on its disk."""

import sys

import pytest

from benchmarks.large_upload import MEBIBYTE, measure_upload
from core.db.session import SessionFactory
from core.settings import Settings
from core.storage import Storage


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_upload_takes_neither_memory_nor_disk(settings: Settings, sessions: SessionFactory, storage: Storage) -> None:
    measured = measure_upload(settings, size_mib=200)
    storage.delete_prefix("uploads/")

    assert measured.growth_bytes < 80 * MEBIBYTE
    assert measured.written_bytes < MEBIBYTE
    assert measured.new_files == set()
