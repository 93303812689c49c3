import gzip
import io
import tarfile
from pathlib import Path

import pytest

from core.ingest.limits import IngestLimits
from tests.core.ingest.reading import GOOD, patch, read, refuse
from tests.pictures import make_members, write_tar

MEMBERS = make_members({"cat": 3, "dog": 2})


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["cat/0.png", "./cat/0.png", "c" * 60 + "/" + "d" * 90 + ".png", "café/0.png"])
def test_tar_is_read_as_the_standard_library_reads_it(tmp_path: Path, tar_format: int, name: str) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tar_format) as archive:
        archive.addfile(_tar_folder("./"))
        archive.addfile(_tar_info(name, size=700), io.BytesIO(b"x" * 700))
        archive.addfile(_tar_info("dog/1.png", size=0), io.BytesIO())

    with tarfile.open(tmp_path / "a") as archive:
        twin = [member.name.removeprefix("./") for member in archive if member.isreg()]
    assert read(tmp_path / "a") == [(twin[0], b"x" * 700), ("dog/1.png", b"")]


def test_gzipped_tar_in_several_members_is_read(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "a", MEMBERS).read_bytes()
    (tmp_path / "b").write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))

    assert read(tmp_path / "b") == MEMBERS


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a", [("caf\udce9/0.png", b"x")])

    assert refuse(tmp_path / "a") == "archive_unsafe_name"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_special_tar_member_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        info = tarfile.TarInfo("cat/0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)

    assert refuse(tmp_path / "a") == "archive_special_member"


def test_sparse_pax_member_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as archive:
        info = _tar_info("cat/0.png", size=0)
        info.pax_headers = {"GNU.sparse.major": "1"}
        archive.addfile(info)

    assert refuse(tmp_path / "a") == "archive_special_member"


def test_damaged_tar_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a", MEMBERS)
    patch(path, b"cat/2.png", b"cat/X.png")

    assert refuse(path) == "archive_damaged"


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + bytes(10) + b"\x01", b"-0000000001\0", b"99999999999\0"])
def test_tar_with_a_strange_size_is_refused(tmp_path: Path, size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("cat/0.png").tobuf())
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a").write_bytes(header + bytes(2048))

    assert refuse(tmp_path / "a") == "archive_damaged"


def test_tar_with_a_pax_size_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as archive:
        info = _tar_info("cat/0.png", size=0)
        info.pax_headers = {"size": "5"}
        archive.addfile(info)

    assert refuse(tmp_path / "a") == "archive_damaged"


def test_bomb_after_the_end_of_a_tar_is_refused(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "a", [GOOD]).read_bytes() + bytes(5_000_000)
    (tmp_path / "b").write_bytes(gzip.compress(content))

    assert refuse(tmp_path / "b", IngestLimits(ratio_free_bytes=100_000)) == "archive_bomb"


def _tar_info(name: str, *, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _tar_folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info
