import io
import struct
import zipfile
from pathlib import Path

import pytest

from tests.core.ingest.reading import GOOD, patch, read, refuse
from tests.pictures import make_members, write_zip

MEMBERS = make_members({"cat": 3, "dog": 2})


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_is_read(tmp_path: Path, compression: int) -> None:
    assert read(write_zip(tmp_path / "a", MEMBERS, compression=compression)) == MEMBERS


def test_zip_of_a_streaming_writer_is_read(tmp_path: Path) -> None:
    class Unseekable(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:  # writes data descriptors
        archive.writestr(*GOOD)
        archive.writestr("dog/0.png", b"y")
    (tmp_path / "a").write_bytes(stream.getvalue())

    assert read(tmp_path / "a") == [GOOD, ("dog/0.png", b"y")]


def test_zip64_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive, archive.open(GOOD[0], "w", force_zip64=True) as member:
        member.write(GOOD[1])

    assert read(tmp_path / "a") == [GOOD]


def test_zip_with_unflagged_utf8_names_is_read(tmp_path: Path) -> None:
    write_zip(tmp_path / "a", [("caf_/0.png", b"x")])
    patch(tmp_path / "a", b"caf_/", "cafß/".encode("cp437"))
    assert refuse(tmp_path / "a") == "archive_unsafe_name"

    write_zip(tmp_path / "b", [("caf__/0.png", b"x")])
    patch(tmp_path / "b", b"caf__/", "café/".encode())
    assert read(tmp_path / "b") == [("café/0.png", b"x")]


def test_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("cat/0.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(info, "/etc/passwd")

    assert refuse(tmp_path / "a") == "archive_special_member"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compression_is_refused(tmp_path: Path, compression: int) -> None:
    path = write_zip(tmp_path / "a", [GOOD], compression=compression)

    assert refuse(path) == "archive_compression_unsupported"


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD])
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    path.write_bytes(content)

    assert refuse(path) == "archive_encrypted"


def test_zip_behind_other_bytes_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD])
    path.write_bytes(b"PK\x03\x04" + bytes(30) + path.read_bytes())

    assert refuse(path) == "archive_damaged"


def test_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    for stated in (10, 100_000):
        path = write_zip(tmp_path / "a", [GOOD])
        patch(path, struct.pack("<L", 700), struct.pack("<L", stated))
        assert refuse(path) == "archive_damaged"


def test_zip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD], compression=zipfile.ZIP_STORED)
    patch(path, b"xxxx", b"xyxx")

    assert refuse(path) == "archive_damaged"


def test_overlapping_zip_members_are_refused(tmp_path: Path) -> None:
    """As Fifield's bomb: many entries of the directory name one member."""
    path = write_zip(tmp_path / "a", [GOOD])
    content = path.read_bytes()
    at, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entry, tail = content[at:end], bytearray(content[end:])
    struct.pack_into("<HHL", tail, 8, 2, 2, 2 * len(entry))
    path.write_bytes(content[:at] + entry * 2 + bytes(tail))
    with zipfile.ZipFile(path) as archive:
        assert len(archive.infolist()) == 2

    assert refuse(path) == "archive_damaged"
