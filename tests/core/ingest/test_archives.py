from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from core.images import ImageLimits
from core.ingest.archives import looks_like_archive
from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits
from tests.core.ingest.reading import GOOD, read, refuse
from tests.pictures import make_members, write_tar, write_zip

MEMBERS = make_members({"cat": 3, "dog": 2})


def test_of_a_huge_member_only_the_allowed_bytes_and_one_are_kept(tmp_path: Path) -> None:
    limits = IngestLimits(image=ImageLimits(max_bytes=100), max_labels_file_bytes=100)
    members = [GOOD, ("dog/0.png", b"y")]

    for path in (write_zip(tmp_path / "zip", members), write_tar(tmp_path / "tar", members)):
        assert read(path, limits) == [(GOOD[0], b"x" * 101), members[1]]


@pytest.mark.parametrize("content", [b"", b"hello", bytes(2000), b"%PDF-1.7", b"Rar!\x1a\x07\x00" + bytes(600)])
def test_other_file_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)

    assert not looks_like_archive(content[:512])
    assert refuse(tmp_path / "a") == "not_an_archive"


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
        *("cat/\u202egnp.exe", "cat/a\n.png", "c" * 256 + "/a.png", "c/" * 600 + "a.png", "."),
    ],
)
def test_unsafe_name_is_refused(tmp_path: Path, name: str) -> None:
    assert refuse(write_zip(tmp_path / "zip", [GOOD, (name, b"x")])) == "archive_unsafe_name"
    assert refuse(write_tar(tmp_path / "tar", [GOOD, (name, b"x")])) == "archive_unsafe_name"


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
            assert refuse(path) == "archive_damaged", path.name


def test_zip_and_tar_at_once_is_refused(tmp_path: Path) -> None:
    tar, archive = write_tar(tmp_path / "a", [GOOD]), write_zip(tmp_path / "b", [GOOD])
    gz = write_tar(tmp_path / "c", [GOOD], mode="w:gz")
    for path in (tar, gz):
        path.write_bytes(path.read_bytes() + archive.read_bytes())
        assert refuse(path) == "archive_ambiguous"


def test_zip_inside_a_tar_is_only_a_member(tmp_path: Path) -> None:
    nested = ("cat/more.zip", write_zip(tmp_path / "a", [GOOD]).read_bytes())

    assert read(write_tar(tmp_path / "b", [nested])) == [nested]


def test_members_over_the_limit_are_refused(tmp_path: Path) -> None:
    for path in (write_zip(tmp_path / "a", MEMBERS), write_tar(tmp_path / "b", MEMBERS)):
        assert refuse(path, IngestLimits(max_members=4)) == "archive_too_many_members"
        assert len(read(path, IngestLimits(max_members=5))) == 5


def test_bytes_over_the_limit_are_refused(tmp_path: Path) -> None:
    for path in (write_zip(tmp_path / "a", [GOOD]), write_tar(tmp_path / "b", [GOOD], mode="w:gz")):
        assert refuse(path, IngestLimits(max_unpacked_bytes=699)) == "archive_too_large"
        assert read(path, IngestLimits(max_unpacked_bytes=20_000)) == [GOOD]


def test_bomb_is_refused(tmp_path: Path) -> None:
    bomb = [("cat/0.png", bytes(1_000_000))]
    limits = IngestLimits(ratio_free_bytes=10_000)
    for path in (write_zip(tmp_path / "a", bomb), write_tar(tmp_path / "b", bomb, mode="w:gz")):
        assert refuse(path, limits) == "archive_bomb"
        assert len(read(path, IngestLimits())) == 1


@pytest.mark.parametrize("seed", range(300))
def test_mutated_archive_is_read_or_refused(tmp_path: Path, seed: int) -> None:
    write = (write_zip, write_tar)[seed % 2]
    content = bytearray(write(tmp_path / "a", MEMBERS[:2]).read_bytes())
    for step in range(4):
        content[(seed * 7919 + step * 104_729) % len(content)] = (seed * 31 + step * 17) % 256
    (tmp_path / "a").write_bytes(content)

    with suppress(ImportRejectedError):
        read(tmp_path / "a")
