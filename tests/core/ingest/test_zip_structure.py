import struct
import zipfile
from pathlib import Path

from core.ingest.limits import IngestLimits
from tests.core.ingest.reading import GOOD, read, refuse
from tests.pictures import write_zip

OTHER = ("dog/0.png", b"y" * 50)
STORED = zipfile.ZIP_STORED


def _write(path: Path) -> bytearray:
    return bytearray(write_zip(path, [GOOD, OTHER], compression=STORED).read_bytes())


def _save(path: Path, content: bytes | bytearray) -> Path:
    path.write_bytes(content)
    return path


def test_wrong_count_is_refused(tmp_path: Path) -> None:
    content = _write(tmp_path / "a")
    end = content.rindex(b"PK\x05\x06")
    for on_disk, total in ((1, 1), (3, 3), (2, 3), (1, 2)):
        struct.pack_into("<2H", content, end + 8, on_disk, total)
        assert refuse(_save(tmp_path / "a", content)) == "archive_damaged"

    struct.pack_into("<2H", content, end + 8, 2, 2)
    assert read(_save(tmp_path / "a", content)) == [GOOD, OTHER]


def test_hidden_member_is_refused(tmp_path: Path) -> None:
    """One that the directory does not name, which a reader of streams would see."""
    content = _write(tmp_path / "a")
    directory, end = content.index(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
    second = content.index(b"PK\x01\x02", directory + 1)
    struct.pack_into("<2H2L", content, end + 8, 1, 1, second - directory, directory)
    del content[second:end]

    assert zipfile.ZipFile(_save(tmp_path / "a", content)).namelist() == [GOOD[0]]
    assert refuse(tmp_path / "a") == "archive_damaged"


def test_member_that_its_own_header_names_otherwise_is_refused(tmp_path: Path) -> None:
    for at, value in ((6, 1), (8, 8), (18, 699), (22, 699)):  # flags, method, sizes
        content = _write(tmp_path / "a")
        struct.pack_into("<H", content, at, value)
        assert refuse(_save(tmp_path / "a", content)) == "archive_damaged", at


def _write_zip64_end(path: Path) -> bytearray:
    content = _write(path)
    end = content.rindex(b"PK\x05\x06")
    directory = content.index(b"PK\x01\x02")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, end - directory, directory)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return content[:end] + record + locator + content[end:]


def test_zip64_end_is_read(tmp_path: Path) -> None:
    content = _write_zip64_end(tmp_path / "a")
    struct.pack_into("<2H2L", content, content.rindex(b"PK\x05\x06") + 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)

    assert read(_save(tmp_path / "a", content)) == [GOOD, OTHER]


def test_zip64_locator_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    content = _write_zip64_end(tmp_path / "a")
    struct.pack_into("<Q", content, content.index(b"PK\x06\x07") + 8, 0)

    assert zipfile.ZipFile(_save(tmp_path / "a", content)).namelist()  # the standard library of 3.11.7 looks away
    assert refuse(tmp_path / "a") == "archive_damaged"


def test_member_that_inflates_too_far_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD, ("dog/0.bmp", bytes(2_000_000))])

    assert refuse(path) == "archive_bomb"
    assert len(read(path, IngestLimits(max_member_ratio=2000))) == 2
    assert len(read(path, IngestLimits(member_ratio_free_bytes=2_000_000))) == 2
