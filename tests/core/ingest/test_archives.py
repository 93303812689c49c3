import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from core.images import ImageLimits
from core.ingest.archives import looks_like_archive, read_members
from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits
from tests.pictures import make_members, write_tar, write_zip

LIMITS = IngestLimits()
MEMBERS = make_members({"cat": 3, "dog": 2})
GOOD = ("cat/0.png", b"x" * 700)


def _read(path: Path, limits: IngestLimits = LIMITS) -> list[tuple[str, bytes]]:
    return [("/".join(member.parts), member.content) for member in read_members(path, limits)]


def _refuse(path: Path, limits: IngestLimits = LIMITS) -> str:
    with pytest.raises(ImportRejectedError) as error:
        _read(path, limits)
    return error.value.code


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_is_read(tmp_path: Path, compression: int) -> None:
    assert _read(write_zip(tmp_path / "a", MEMBERS, compression=compression)) == MEMBERS


def test_zip_of_a_streaming_writer_is_read(tmp_path: Path) -> None:
    class Unseekable(io.BytesIO):
        def tell(self) -> int:
            raise io.UnsupportedOperation

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:  # writes data descriptors
        archive.writestr(*GOOD)
        archive.writestr("dog/0.png", b"y")
    (tmp_path / "a").write_bytes(stream.getvalue())

    assert _read(tmp_path / "a") == [GOOD, ("dog/0.png", b"y")]


def test_zip64_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive, archive.open(GOOD[0], "w", force_zip64=True) as member:
        member.write(GOOD[1])

    assert _read(tmp_path / "a") == [GOOD]


def test_zip_with_unflagged_utf8_names_is_read(tmp_path: Path) -> None:
    write_zip(tmp_path / "a", [("caf_/0.png", b"x")])
    _patch(tmp_path / "a", b"caf_/", "cafß/".encode("cp437"))
    assert _refuse(tmp_path / "a") == "archive_unsafe_name"

    write_zip(tmp_path / "b", [("caf__/0.png", b"x")])
    _patch(tmp_path / "b", b"caf__/", "café/".encode())
    assert _read(tmp_path / "b") == [("café/0.png", b"x")]


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["cat/0.png", "./cat/0.png", "c" * 60 + "/" + "d" * 90 + ".png", "café/0.png"])
def test_tar_is_read_as_the_standard_library_reads_it(tmp_path: Path, tar_format: int, name: str) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tar_format) as archive:
        archive.addfile(_tar_folder("./"))
        archive.addfile(_tar_info(name, size=700), io.BytesIO(b"x" * 700))
        archive.addfile(_tar_info("dog/1.png", size=0), io.BytesIO())

    with tarfile.open(tmp_path / "a") as archive:
        twin = [member.name.removeprefix("./") for member in archive if member.isreg()]
    assert _read(tmp_path / "a") == [(twin[0], b"x" * 700), ("dog/1.png", b"")]


def test_gzipped_tar_in_several_members_is_read(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "a", MEMBERS).read_bytes()
    (tmp_path / "b").write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))

    assert _read(tmp_path / "b") == MEMBERS


def test_of_a_huge_member_only_the_allowed_bytes_and_one_are_kept(tmp_path: Path) -> None:
    limits = IngestLimits(image=ImageLimits(max_bytes=100))
    members = [GOOD, ("dog/0.png", b"y")]

    for path in (write_zip(tmp_path / "zip", members), write_tar(tmp_path / "tar", members)):
        assert _read(path, limits) == [(GOOD[0], b"x" * 101), members[1]]


@pytest.mark.parametrize("content", [b"", b"hello", bytes(2000), b"%PDF-1.7", b"Rar!\x1a\x07\x00" + bytes(600)])
def test_other_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)

    assert not looks_like_archive(content[:512])
    assert _refuse(tmp_path / "a") == "not_an_archive"


def test_archives_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    for path in (write_zip(tmp_path / "a", [GOOD]), write_tar(tmp_path / "b", [GOOD])):
        assert looks_like_archive(path.read_bytes()[:512])
    assert looks_like_archive(write_tar(tmp_path / "c", [GOOD], mode="w:gz").read_bytes()[:512])


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../a.png",
            "cat/../../a.png",
            "/etc/a.png",
            "C:/a.png",
            "C:a.png",
            "cat\\a.png",
            "..\\a.png",
            "cat/a\x07.png",
        ),
        *("cat/\u202egnp.exe", "cat/a\n.png", "c" * 256 + "/a.png", "c/" * 600 + "a.png"),
    ],
)
def test_unsafe_name_is_refused(tmp_path: Path, name: str) -> None:
    assert _refuse(write_zip(tmp_path / "zip", [GOOD, (name, b"x")])) == "archive_unsafe_name"
    assert _refuse(write_tar(tmp_path / "tar", [GOOD, (name, b"x")])) == "archive_unsafe_name"


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a", [("caf\udce9/0.png", b"x")])

    assert _refuse(tmp_path / "a") == "archive_unsafe_name"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE],
)
def test_special_tar_member_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a", "w") as archive:
        info = tarfile.TarInfo("cat/0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)

    assert _refuse(tmp_path / "a") == "archive_special_member"


def test_sparse_pax_member_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as archive:
        info = _tar_info("cat/0.png", size=0)
        info.pax_headers = {"GNU.sparse.major": "1"}
        archive.addfile(info)

    assert _refuse(tmp_path / "a") == "archive_special_member"


def test_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("cat/0.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        archive.writestr(info, "/etc/passwd")

    assert _refuse(tmp_path / "a") == "archive_special_member"


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compression_is_refused(tmp_path: Path, compression: int) -> None:
    path = write_zip(tmp_path / "a", [GOOD], compression=compression)

    assert _refuse(path) == "archive_compression_unsupported"


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD])
    content = bytearray(path.read_bytes())
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    path.write_bytes(content)

    assert _refuse(path) == "archive_encrypted"


def _damage_cut(content: bytes) -> bytes:
    return content[:-30]


def _damage_cut_in_the_middle(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _damage_append(content: bytes) -> bytes:
    return content + b"more"


@pytest.mark.parametrize("damage", [_damage_cut, _damage_cut_in_the_middle, _damage_append])
def test_damaged_archive_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    for path in (
        write_zip(tmp_path / "a", MEMBERS),
        write_tar(tmp_path / "b", MEMBERS),
        write_tar(tmp_path / "c", MEMBERS, mode="w:gz"),
    ):
        path.write_bytes(damage(path.read_bytes()))
        # what is cut from a plain tar's end is padding
        if path.name != "b" or damage is not _damage_cut:
            assert _refuse(path) == "archive_damaged", path.name


def test_zip_behind_other_bytes_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD])
    path.write_bytes(b"PK\x03\x04" + bytes(30) + path.read_bytes())

    assert _refuse(path) == "archive_damaged"


def test_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    for stated in (10, 100_000):
        path = write_zip(tmp_path / "a", [GOOD])
        _patch(path, struct.pack("<L", 700), struct.pack("<L", stated))
        assert _refuse(path) == "archive_damaged"


def test_zip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a", [GOOD], compression=zipfile.ZIP_STORED)
    _patch(path, b"xxxx", b"xyxx")

    assert _refuse(path) == "archive_damaged"


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

    assert _refuse(path) == "archive_damaged"


def test_damaged_tar_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a", MEMBERS)
    _patch(path, b"cat/2.png", b"cat/X.png")

    assert _refuse(path) == "archive_damaged"


@pytest.mark.parametrize("size", [b"\xff" * 12, b"\x80" + bytes(10) + b"\x01", b"-0000000001\0", b"99999999999\0"])
def test_tar_with_a_strange_size_is_refused(tmp_path: Path, size: bytes) -> None:
    header = bytearray(tarfile.TarInfo("cat/0.png").tobuf())
    header[124:136] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a").write_bytes(header + bytes(2048))

    assert _refuse(tmp_path / "a") == "archive_damaged"


def test_tar_with_a_pax_size_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a", "w", format=tarfile.PAX_FORMAT) as archive:
        info = _tar_info("cat/0.png", size=0)
        info.pax_headers = {"size": "5"}
        archive.addfile(info)

    assert _refuse(tmp_path / "a") == "archive_damaged"


def test_zip_and_tar_at_once_is_refused(tmp_path: Path) -> None:
    tar, archive = write_tar(tmp_path / "a", [GOOD]), write_zip(tmp_path / "b", [GOOD])
    gz = write_tar(tmp_path / "c", [GOOD], mode="w:gz")
    for path in (tar, gz):
        path.write_bytes(path.read_bytes() + archive.read_bytes())
        assert _refuse(path) == "archive_ambiguous"


def test_zip_inside_a_tar_is_only_a_member(tmp_path: Path) -> None:
    nested = ("cat/more.zip", write_zip(tmp_path / "a", [GOOD]).read_bytes())

    assert _read(write_tar(tmp_path / "b", [nested])) == [nested]


def test_members_over_the_limit_are_refused(tmp_path: Path) -> None:
    for path in (write_zip(tmp_path / "a", MEMBERS), write_tar(tmp_path / "b", MEMBERS)):
        assert _refuse(path, IngestLimits(max_members=4)) == "archive_too_many_members"
        assert len(_read(path, IngestLimits(max_members=5))) == 5


def test_bytes_over_the_limit_are_refused(tmp_path: Path) -> None:
    for path in (write_zip(tmp_path / "a", [GOOD]), write_tar(tmp_path / "b", [GOOD], mode="w:gz")):
        assert _refuse(path, IngestLimits(max_unpacked_bytes=699)) == "archive_too_large"
        assert _read(path, IngestLimits(max_unpacked_bytes=20_000)) == [GOOD]


def test_bomb_is_refused(tmp_path: Path) -> None:
    bomb = [("cat/0.png", bytes(1_000_000))]
    limits = IngestLimits(ratio_free_bytes=10_000)
    for path in (write_zip(tmp_path / "a", bomb), write_tar(tmp_path / "b", bomb, mode="w:gz")):
        assert _refuse(path, limits) == "archive_bomb"
        assert len(_read(path, IngestLimits())) == 1


def test_bomb_after_the_end_of_a_tar_is_refused(tmp_path: Path) -> None:
    content = write_tar(tmp_path / "a", [GOOD]).read_bytes() + bytes(5_000_000)
    (tmp_path / "b").write_bytes(gzip.compress(content))

    assert _refuse(tmp_path / "b", IngestLimits(ratio_free_bytes=100_000)) == "archive_bomb"


@pytest.mark.parametrize("seed", range(300))
def test_mutated_archive_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    write = (write_zip, write_tar)[seed % 2]
    content = bytearray(write(tmp_path / "a", MEMBERS[:2]).read_bytes())
    for step in range(4):
        content[(seed * 7919 + step * 104_729) % len(content)] = (seed * 31 + step * 17) % 256
    (tmp_path / "a").write_bytes(content)

    with suppress(ImportRejectedError):
        _read(tmp_path / "a")


def _patch(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def _tar_info(name: str, *, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


def _tar_folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info
