import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from core.dataset_index import Split
from core.ingest.findings import FindingCode
from core.sample_table import (
    RECORD,
    SAMPLE_FINDINGS,
    Sample,
    SampleQuery,
    SampleTable,
    Thumbnail,
    write_sample_table,
)

COUNT = 5_000
SPLITS: tuple[Split, ...] = get_args(Split)


def _make_sample(number: int) -> Sample:
    return Sample(
        sample_id=hashlib.sha256(f"{number}".encode()).hexdigest()[:32],
        path=f"class_{number % 3}/bild-ä-{number}.png",
        label=number % 3,
        split=SPLITS[number % 7 % 3],
        width=100 + number,
        height=200,
        size_bytes=1_000 + number,
        findings=tuple(finding for bit, finding in enumerate(SAMPLE_FINDINGS) if number % (bit + 400) == 1),
        thumbnail=Thumbnail(number % 2, 512 * number, 900),
    )


SAMPLES = [_make_sample(number) for number in range(COUNT)]
BY_ID = sorted(SAMPLES, key=lambda sample: sample.sample_id)


class Reads:
    """A file, and what was read of it."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.sizes: list[int] = []

    def __call__(self, offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(self.content)
        self.sizes.append(size)
        return self.content[offset : offset + size]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "samples.bin"
    write_sample_table(path, SAMPLES)
    return path


@pytest.fixture
def reads(path: Path) -> Reads:
    return Reads(path)


@pytest.fixture
def table(reads: Reads) -> SampleTable:
    return SampleTable(reads, COUNT)


def test_every_sample_is_found_by_its_id(table: SampleTable) -> None:
    assert [table.find(sample.sample_id) for sample in SAMPLES[::50]] == SAMPLES[::50]
    assert table.find(BY_ID[0].sample_id) == BY_ID[0]
    assert table.find(BY_ID[-1].sample_id) == BY_ID[-1]


@pytest.mark.parametrize("sample_id", ["0" * 32, "f" * 32, "7" * 32])
def test_unknown_id_is_not_found(table: SampleTable, sample_id: str) -> None:
    assert table.find(sample_id) is None


def test_one_sample_takes_few_bytes(table: SampleTable, reads: Reads) -> None:
    table.find(BY_ID[2_345].sample_id)

    assert len(reads.sizes) <= 4
    assert sum(reads.sizes) < COUNT * RECORD.itemsize / 4


QUERIES: dict[str, tuple[SampleQuery, Callable[[Sample], bool]]] = {
    "all": (SampleQuery(), lambda _: True),
    "class": (SampleQuery(label=2), lambda sample: sample.label == 2),
    "split": (SampleQuery(split="test"), lambda sample: sample.split == "test"),
    "finding": (SampleQuery(finding="image_misnamed"), lambda sample: "image_misnamed" in sample.findings),
    "everything": (
        SampleQuery(label=1, split="train", finding="conflicting_labels"),
        lambda sample: (sample.label, sample.split) == (1, "train") and "conflicting_labels" in sample.findings,
    ),
    "nothing": (SampleQuery(label=9), lambda _: False),
}


@pytest.mark.parametrize(("query", "matches"), QUERIES.values(), ids=QUERIES.keys())
@pytest.mark.parametrize("limit", [7, 101])
def test_pages_are_what_a_slow_filter_gives(
    table: SampleTable, query: SampleQuery, matches: Callable[[Sample], bool], limit: int
) -> None:
    expected = [sample for sample in BY_ID if matches(sample)][: 5 * limit]

    found: list[Sample] = []
    while len(found) < len(expected):
        page = table.select(query, after=found[-1].sample_id if found else None, limit=limit)
        assert len(page) <= limit
        found += page

    assert found[: len(expected)] == expected


def test_cursor_that_is_no_sample_goes_on_behind_it(table: SampleTable) -> None:
    for cursor in (
        "0" * 32,
        "8" * 32,
        "f" * 32,
        *(f"{hash((seed, seed)) % 2**128:032x}" for seed in range(50)),
    ):
        found = table.select(SampleQuery(), after=cursor, limit=3)
        assert found == [sample for sample in BY_ID if sample.sample_id > cursor][:3]


def test_ids_that_are_no_hashes_are_found_too(tmp_path: Path) -> None:
    crowded = [sample._replace(sample_id=f"{number:032x}") for number, sample in enumerate(SAMPLES)]
    write_sample_table(tmp_path / "samples.bin", crowded)
    table = SampleTable(Reads(tmp_path / "samples.bin"), COUNT)

    assert all(table.find(sample.sample_id) == sample for sample in crowded[::100])
    assert table.select(SampleQuery(), after=f"{4_000:032x}", limit=2) == crowded[4_001:4_003]


def test_empty_table_has_no_samples(tmp_path: Path) -> None:
    write_sample_table(tmp_path / "samples.bin", [])

    assert SampleTable(Reads(tmp_path / "samples.bin"), 0).select(SampleQuery(), after=None, limit=5) == []


def test_bits_are_codes_of_the_report() -> None:
    assert all(FindingCode(finding) for finding in SAMPLE_FINDINGS)
