import hashlib
import tarfile
from pathlib import Path
from typing import get_args

import pytest

from core.images import ImageErrorCode
from core.ingest.findings import FindingCode
from core.ingest.limits import IngestLimits
from tests.core.ingest.ingesting import LIMITS, Ingested, refuse_members
from tests.pictures import ArchiveFormat, Member, encode, make_archive, make_members, make_picture, write_zip

GOOD = make_members({"cat": 10, "dog": 6})


def _ingest_members(tmp_path: Path, members: list[Member], limits: IngestLimits = LIMITS) -> Ingested:
    return Ingested(write_zip(tmp_path / "archive", members), limits)


@pytest.mark.parametrize("prefix", ["", "cells/"])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_every_kind_of_archive_gives_the_same_dataset(tmp_path: Path, kind: ArchiveFormat, prefix: str) -> None:
    ingested = Ingested(make_archive(tmp_path / "a", {"cat": 10, "dog": 6}, kind=kind, prefix=prefix))

    assert ingested.counts() == {"cat": (8, 0, 2), "dog": (5, 0, 1)}
    assert ingested.packed.num_samples == len(ingested.entries) == 16


def test_samples_are_the_original_bytes(tmp_path: Path) -> None:
    ingested = _ingest_members(tmp_path, GOOD)

    assert {entry.path: ingested.read_sample(entry) for entry in ingested.entries} == dict(GOOD)
    assert all(hashlib.sha256(ingested.read_sample(entry)).hexdigest() == entry.sha256 for entry in ingested.entries)
    assert [entry.path for entry in ingested.entries] == sorted(name for name, _ in GOOD)
    assert len({entry.sample_id for entry in ingested.entries}) == 16


def test_shards_are_tars_of_bounded_size(tmp_path: Path) -> None:
    ingested = _ingest_members(tmp_path, GOOD, IngestLimits(shard_bytes=10_240))

    shards = sorted((ingested.out_dir / "shards").iterdir())
    assert ingested.packed.num_shards == len(shards) > 1
    assert all(shard.stat().st_size <= 10_240 for shard in shards)
    names = []
    for shard in shards:
        with tarfile.open(shard) as archive:
            names += archive.getnames()
    assert sorted(names) == sorted(entry.sample_id for entry in ingested.entries)


def test_given_splits_are_kept(tmp_path: Path) -> None:
    members = [(f"{split}/{name}", content) for split, (name, content) in zip(_cycle_splits(), GOOD, strict=False)]

    ingested = _ingest_members(tmp_path, members)

    assert ingested.counts() == {"cat": (5, 0, 5), "dog": (3, 0, 3)}


def _cycle_splits() -> list[str]:
    return ["train", "test"] * 10


def test_orientation_counts_for_the_size_and_for_copies(tmp_path: Path) -> None:
    upright = make_picture(1, (40, 30))
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = encode(upright.rotate(90, expand=True), exif=exif)

    ingested = _ingest_members(tmp_path, [*GOOD, ("cat/a.png", encode(upright)), ("cat/b.png", turned)])

    found = [entry for entry in ingested.entries if entry.path in {"cat/a.png", "cat/b.png"}]
    assert [(entry.width, entry.height) for entry in found] == [(40, 30), (40, 30)]
    assert found[0].duplicate_group == found[1].duplicate_group
    assert found[0].split == found[1].split
    assert ingested.report.summary.num_findings[FindingCode.DUPLICATE_IMAGES] == 1


def test_bad_files_are_left_out_and_listed(tmp_path: Path) -> None:
    bad = [
        ("cat/half.jpg", encode(make_picture(1), "JPEG")[:600]),
        ("cat/text.png", b"no picture"),
        ("cat/notes.txt", b"notes"),
        ("cat/more.zip", b"PK\x03\x04"),
        ("cover.png", encode(make_picture(2))),
        ("cat/dot.png", encode(make_picture(3, (2, 2)))),
        ("README.md", b"# Cells"),
    ]
    hidden = [("__MACOSX/cat/._0.png", b"x"), ("cat/.DS_Store", b"x")]

    ingested = _ingest_members(tmp_path, [*bad, *GOOD, *hidden])

    assert ingested.counts() == {"cat": (8, 0, 2), "dog": (5, 0, 1)}
    summary = ingested.report.summary
    assert (summary.num_samples, summary.num_left_out, summary.num_ignored) == (16, 7, 2)
    assert {(finding.path, finding.code) for finding in ingested.findings} == {
        ("cat/half.jpg", FindingCode.IMAGE_TRUNCATED),
        ("cat/text.png", FindingCode.IMAGE_FORMAT_UNSUPPORTED),
        ("cat/notes.txt", FindingCode.NOT_AN_IMAGE),
        ("cat/more.zip", FindingCode.NOT_AN_IMAGE),
        ("cover.png", FindingCode.OUTSIDE_CLASS),
        ("cat/dot.png", FindingCode.IMAGE_TOO_SMALL),
        ("README.md", FindingCode.NOT_AN_IMAGE),
        ("cat", FindingCode.CLASS_SMALL),
        ("dog", FindingCode.CLASS_SMALL),
    }
    assert all(finding.message and finding.hint for finding in ingested.findings)


def test_folder_of_unreadable_pictures_is_not_dropped_in_silence(tmp_path: Path) -> None:
    heic = [(f"bird/{index}.heic", b"\0\0\0\x18ftypheic") for index in range(9)]

    assert refuse_members(tmp_path, [*GOOD, *heic]) == "class_too_small"


def test_folder_without_pictures_is_no_class(tmp_path: Path) -> None:
    assert set(_ingest_members(tmp_path, [*GOOD, ("annotations/0.xml", b"<a/>")]).counts()) == {"cat", "dog"}


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ([], "no_images"),
        ([("cat/a.txt", b"a"), ("dog/a.txt", b"a")], "no_images"),
        (make_members({"cat": 9}), "one_class"),
        (make_members({"cat": 9, "dog": 4}), "class_too_small"),
        (make_members({"cat": 9, "dog": 5, "Dog": 5}), "ambiguous_class_names"),
    ],
)
def test_useless_archive_is_refused(tmp_path: Path, members: list[Member], code: str) -> None:
    assert refuse_members(tmp_path, members) == code


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    assert refuse_members(tmp_path, [*GOOD, ("./cat/0.png", b"x")]) == "archive_duplicate_name"


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    assert refuse_members(tmp_path, GOOD, IngestLimits(max_classes=1)) == "too_many_classes"


def test_fewer_images_suffice_where_the_operator_says_so(tmp_path: Path) -> None:
    members = make_members({"cat": 9, "dog": 4})

    assert _ingest_members(tmp_path, members, IngestLimits(min_images_per_class=4)).packed.num_samples == 13


def test_progress_counts_the_pictures(tmp_path: Path) -> None:
    ingested = _ingest_members(tmp_path, [*GOOD, ("README.md", b"# Cells")])

    assert [progress.done for progress in ingested.progress if progress.total == 16] == list(range(16))


def test_every_image_error_is_a_finding() -> None:
    assert {FindingCode(code) for code in get_args(ImageErrorCode)}
