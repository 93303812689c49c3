"""Every code of the report, from real archives through the real import process."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from core.dataset_index import INDEX_FILE, IndexEntry, read_index
from core.images import ImageLimits
from core.ingest.child import IngestJob, run_ingest
from core.ingest.findings import Finding, FindingCode
from core.ingest.limits import MEBIBYTE, IngestLimits
from core.ingest.report import FINDINGS_FILE, REPORT_FILE, DatasetReport
from core.sample_table import SAMPLES_FILE, Sample, SampleQuery, SampleTable
from tests.pictures import Member, encode, make_members, make_picture, write_zip

LIMITS = IngestLimits(
    decoders=2,
    memory_bytes=1024 * MEBIBYTE,
    image=ImageLimits(max_bytes=400_000, max_pixels=250_000),
    min_images_per_class=3,
)
SIZE = (64, 48)


class Imported(NamedTuple):
    report: DatasetReport
    findings: list[Finding]
    entries: list[IndexEntry]
    samples: list[Sample]
    thumbnails: bytes


def _import(folder: Path, members: list[Member], limits: IngestLimits = LIMITS) -> Imported:
    job = IngestJob(archive=write_zip(folder / "archive.zip", members), limits=limits, test_fraction=0.2)
    result = run_ingest(job, folder, should_stop=lambda: False, on_progress=lambda _: None)
    table = SampleTable(_reader(result.files[SAMPLES_FILE]), result.num_samples)
    return Imported(
        report=DatasetReport.model_validate_json(result.files[REPORT_FILE].read_text()),
        findings=[Finding.model_validate_json(line) for line in result.files[FINDINGS_FILE].read_bytes().splitlines()],
        entries=read_index(result.files[INDEX_FILE]),
        samples=table.select(SampleQuery(), after=None, limit=10_000),
        thumbnails=result.files["thumbnails/0.tar"].read_bytes(),
    )


def _reader(path: Path) -> Callable[[int, int], bytes]:
    content = path.read_bytes()
    return lambda offset, size: content[offset : offset + size]


def _make_smooth(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """As a photograph, it survives compression."""
    return make_picture(seed, (6, 6)).resize(size, Image.Resampling.BICUBIC)


def _encode_frames() -> bytes:
    buffer = BytesIO()
    _make_smooth(30).save(buffer, "GIF", save_all=True, append_images=[_make_smooth(31)])
    return buffer.getvalue()


ODD = [
    ("cat/heic.heic", b"\0\0\0\x18ftypheic"),
    ("cat/heavy.png", encode(make_picture(1, (400, 400)))),
    ("cat/huge.png", encode(Image.new("1", (600, 600)))),
    ("cat/dot.png", encode(make_picture(2, (4, 4)))),
    ("cat/half.jpg", encode(make_picture(3, SIZE), "JPEG")[:900]),
    ("cat/damaged.png", encode(make_picture(4, SIZE))[:60] + bytes(60) + encode(make_picture(4, SIZE))[120:]),
    ("cover.png", encode(make_picture(5, SIZE))),
    ("cat/notes.txt", b"notes"),
    ("annotations/0.xml", b"<a/>"),
    ("cat/both.png", encode(make_picture(6, SIZE))),
    ("dog/both.png", encode(make_picture(6, SIZE))),
    ("cat/like.png", encode(_make_smooth(7))),
    ("dog/like.jpg", encode(_make_smooth(7), "JPEG", quality=70)),
    ("dog/copy.png", encode(make_picture(8, SIZE))),
    ("dog/copy.bmp", encode(make_picture(8, SIZE), "BMP")),
    ("dog/film-1.png", encode(_make_smooth(9))),
    ("dog/film-2.png", encode(_make_smooth(9, (128, 96)))),
    ("cat/tiny.png", encode(make_picture(10, (12, 12)))),
    ("cat/print.jpg", encode(make_picture(11, SIZE).convert("CMYK"), "JPEG")),
    ("cat/deep.png", encode(Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20))),
    ("cat/glass.png", encode(Image.merge("RGBA", (*make_picture(12, SIZE).split(), Image.new("L", SIZE, 99))))),
    ("cat/opaque.png", encode(make_picture(14, SIZE).convert("RGBA"))),  # nothing is odd about it
    ("cat/film.gif", _encode_frames()),
    ("cat/really.jpg", encode(make_picture(13, SIZE))),
]
GIVEN = [
    *((f"train/{name}", content) for name, content in make_members({"cat": 30, "dog": 30})),
    *((f"train/{name}", content) for name, content in make_members({"few": 3}, size=(40, 40))),
    *((f"test/cat/{index}.png", encode(make_picture(9_000 + index))) for index in range(3)),
    ("train/cat/same.png", encode(make_picture(20, SIZE))),
    ("test/cat/same.png", encode(make_picture(20, SIZE))),
    ("train/cat/near.png", encode(_make_smooth(21))),
    ("test/cat/near.jpg", encode(_make_smooth(21), "JPEG", quality=70)),
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return _import(tmp_path_factory.mktemp("odd"), [*make_members({"cat": 25, "dog": 25}), *ODD])


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    return _import(tmp_path_factory.mktemp("given"), GIVEN)


def _list_paths(imported: Imported, code: FindingCode) -> list[list[str]]:
    """Of each finding, all that it is about."""
    found = [finding for finding in imported.findings if finding.code == code]
    return [[finding.path, *(ref.path for ref in finding.related)] for finding in found]


IN_ODD = {
    FindingCode.IMAGE_FORMAT_UNSUPPORTED: [["cat/heic.heic"]],
    FindingCode.IMAGE_TOO_LARGE_BYTES: [["cat/heavy.png"]],
    FindingCode.IMAGE_TOO_MANY_PIXELS: [["cat/huge.png"]],
    FindingCode.IMAGE_TOO_SMALL: [["cat/dot.png"]],
    FindingCode.IMAGE_TRUNCATED: [["cat/half.jpg"]],
    FindingCode.IMAGE_UNDECODABLE: [["cat/damaged.png"]],
    FindingCode.OUTSIDE_CLASS: [["cover.png"]],
    FindingCode.NOT_AN_IMAGE: [["cat/notes.txt"], ["annotations/0.xml"]],
    FindingCode.CLASS_EMPTY: [["annotations"]],
    FindingCode.CONFLICTING_LABELS: [["cat/both.png", "dog/both.png"]],
    FindingCode.NEAR_DUPLICATE_LABELS: [["cat/like.png", "dog/like.jpg"]],
    FindingCode.DUPLICATE_IMAGES: [["cat/both.png", "dog/both.png"], ["dog/copy.bmp", "dog/copy.png"]],
    FindingCode.NEAR_DUPLICATES: [["cat/like.png", "dog/like.jpg"], ["dog/film-1.png", "dog/film-2.png"]],
    FindingCode.IMAGE_TINY: [["cat/tiny.png"]],
    FindingCode.IMAGE_MODE_UNUSUAL: [["cat/print.jpg"], ["cat/deep.png"], ["cat/glass.png"]],
    FindingCode.IMAGE_ANIMATED: [["cat/film.gif"]],
    FindingCode.IMAGE_MISNAMED: [["cat/really.jpg"]],
}
IN_GIVEN = {
    FindingCode.DUPLICATE_ACROSS_SPLITS: [["test/cat/same.png", "train/cat/same.png"]],
    FindingCode.NEAR_DUPLICATE_ACROSS_SPLITS: [["test/cat/near.jpg", "train/cat/near.png"]],
    FindingCode.CLASS_SMALL: [["few"]],
    FindingCode.CLASS_MISSING_IN_SPLIT: [["dog"], ["few"]],
    FindingCode.CLASS_IMBALANCE: [["few"]],
}
ELSEWHERE = {FindingCode.IMAGE_DECODE_CRASHED, FindingCode.NOT_LISTED}  # in test_decoders, test_labels_layout


@pytest.mark.parametrize("code", IN_ODD)
def test_finding_about_odd_files(odd: Imported, code: FindingCode) -> None:
    assert _list_paths(odd, code) == IN_ODD[code]


@pytest.mark.parametrize("code", IN_GIVEN)
def test_finding_about_given_splits(given: Imported, code: FindingCode) -> None:
    assert _list_paths(given, code) == IN_GIVEN[code]


def test_nothing_else_is_found(odd: Imported, given: Imported) -> None:
    assert set(odd.report.summary.num_findings) == set(IN_ODD)
    assert set(given.report.summary.num_findings) == set(IN_GIVEN)
    assert set(IN_ODD) | set(IN_GIVEN) | ELSEWHERE == set(FindingCode)


def test_sections_and_counts_are_those_of_the_findings(odd: Imported) -> None:
    counts = {code: len(paths) for code, paths in IN_ODD.items()}

    assert odd.report.summary.num_findings == counts
    assert {section.code: (section.count, section.num_listed) for section in odd.report.sections} == {
        code: (count, count) for code, count in counts.items()
    }
    assert [section.start for section in odd.report.sections[1:]] == [
        section.end for section in odd.report.sections[:-1]
    ]
    assert (odd.report.summary.num_left_out, odd.report.summary.num_samples) == (9, 50 + 15)


def test_findings_name_the_samples_that_they_are_about(odd: Imported) -> None:
    ids = {entry.path: entry.sample_id for entry in odd.entries}

    assert all(finding.sample_id == ids.get(finding.path) for finding in odd.findings)


def test_samples_carry_the_codes_that_are_about_them(odd: Imported) -> None:
    findings = {sample.path: sample.findings for sample in odd.samples}

    assert findings["cat/both.png"] == findings["dog/both.png"] == ("conflicting_labels", "duplicate_images")
    assert findings["dog/film-2.png"] == ("near_duplicates",)
    assert findings["cat/0.png"] == ()


def test_near_duplicates_are_one_group_and_in_one_split(odd: Imported) -> None:
    film = [entry for entry in odd.entries if entry.path.startswith("dog/film-")]

    assert len(film) == 2
    assert len({(entry.duplicate_group, entry.split) for entry in film}) == 1


def test_given_splits_are_left_as_they_are(given: Imported) -> None:
    assert all(entry.path.startswith(f"{entry.split}/") for entry in given.entries)


def test_every_sample_has_a_thumbnail_of_its_own_picture(odd: Imported) -> None:
    for sample in odd.samples:
        _, offset, size_bytes = sample.thumbnail
        thumbnail = Image.open(BytesIO(odd.thumbnails[offset : offset + size_bytes]))
        assert (thumbnail.format, thumbnail.mode, max(thumbnail.size) <= 128) == ("JPEG", "RGB", True)
        assert abs(thumbnail.width / thumbnail.height - sample.width / sample.height) < 0.1


def test_thumbnails_tell_nothing_of_where_a_picture_was_taken(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    content = encode(make_picture(1, (300, 200)), "JPEG", exif=exif, comment=b"SecretComment")
    assert b"SecretCamera" in content

    imported = _import(tmp_path, [*make_members({"cat": 4, "dog": 4}), ("cat/exif.jpg", content)])

    assert b"Secret" not in imported.thumbnails


def test_decoders_side_by_side_make_the_same_dataset(tmp_path: Path, odd: Imported) -> None:
    alone = _import(tmp_path, [*make_members({"cat": 25, "dog": 25}), *ODD], LIMITS.model_copy(update={"decoders": 0}))

    assert alone == odd
