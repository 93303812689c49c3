"""`samples.bin`: an imported dataset's samples by id, made to be read in parts straight from the store.

Records of one size come first, sorted by id; their paths follow. Ids are hashes, so where one stands follows from its
value, and a few thousand records around that place are all that has to be read to find it.
"""

from collections.abc import Callable, Iterable, Iterator
from math import isqrt
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from core.dataset_index import Split

SAMPLES_FILE = "samples.bin"
SampleFinding = Literal[  # bits, in this order: new ones go to the end
    "conflicting_labels",
    "duplicate_across_splits",
    "near_duplicate_labels",
    "near_duplicate_across_splits",
    "duplicate_images",
    "near_duplicates",
    "image_tiny",
    "image_mode_unusual",
    "image_animated",
    "image_misnamed",
]
SAMPLE_FINDINGS: tuple[SampleFinding, ...] = get_args(SampleFinding)
SPLITS: tuple[Split, ...] = get_args(Split)
RECORD = np.dtype(
    [
        ("high", "<u8"),  # the id's first and second half
        ("low", "<u8"),
        ("label", "<u4"),
        ("split", "u1"),
        ("findings", "<u4"),
        ("width", "<u4"),
        ("height", "<u4"),
        ("size_bytes", "<u4"),
        ("thumbnail_shard", "<u2"),
        ("thumbnail_offset", "<u8"),
        ("thumbnail_bytes", "<u4"),
        ("path_offset", "<u8"),
        ("path_bytes", "<u2"),
    ]
)
ID_LENGTH = 32  # hexadecimal
MIN_SEARCH_WINDOW = 64  # records
FIRST_WINDOW = 2048
LAST_WINDOW = 65_536
PATH_GAP_BYTES = 65_536  # what lies between two paths is read along with them up to so many bytes

Records = NDArray[np.void]
ReadRange = Callable[[int, int], bytes]  # offset, size


class Thumbnail(NamedTuple):
    """Where it lies: `thumbnails/{shard}.tar` [offset : offset + size_bytes]."""

    shard: int
    offset: int
    size_bytes: int


class Sample(NamedTuple):
    sample_id: str
    path: str
    label: int
    split: Split
    width: int
    height: int
    size_bytes: int
    findings: tuple[SampleFinding, ...]
    thumbnail: Thumbnail


class SampleQuery(NamedTuple):
    """None asks for any."""

    label: int | None = None
    split: Split | None = None
    finding: SampleFinding | None = None


def write_sample_table(path: Path, samples: Iterable[Sample]) -> None:
    rows = sorted(samples, key=lambda sample: sample.sample_id)
    records = np.zeros(len(rows), RECORD)
    path_offset = len(rows) * RECORD.itemsize
    with path.open("wb") as file:
        file.seek(path_offset)
        for index, row in enumerate(rows):
            encoded = row.path.encode()
            records[index] = (*_split_id(row.sample_id), *_pack(row), *row.thumbnail, path_offset, len(encoded))
            path_offset += file.write(encoded)
        file.seek(0)
        file.write(records.tobytes())


def is_sample_id(text: str) -> bool:
    return len(text) == ID_LENGTH and not text.strip("0123456789abcdef")


class _Place(NamedTuple):
    number: int  # of the first record behind an id
    before: Records  # the one in front of that, if there is one


class SampleTable:
    """Reads a table of `num_samples` records; `read` may be a request to the store, so there are few calls of it."""

    def __init__(self, read: ReadRange, num_samples: int) -> None:
        self._read = read
        self._num_samples = num_samples

    def find(self, sample_id: str) -> Sample | None:
        record = self._find_place(sample_id).before
        return self._load(record)[0] if len(record) and _get_id(record[0]) == sample_id else None

    def select(self, query: SampleQuery, *, after: str | None, limit: int) -> list[Sample]:
        """In the order of their ids."""
        found: list[Records] = []
        num_found = 0
        for records in self._walk(0 if after is None else self._find_place(after).number):
            matching = records[_match(records, query)][: limit - num_found]
            found.append(matching)
            num_found += len(matching)
            if num_found == limit:
                break
        return self._load(np.concatenate(found)) if num_found else []

    def _walk(self, start: int) -> Iterator[Records]:
        """Windows grow, so that what is rare is found in few reads, and what is frequent in a small one."""
        window = FIRST_WINDOW
        while start < self._num_samples:
            records = self._read_records(start, window)
            yield records
            start += len(records)
            window = min(2 * window, LAST_WINDOW)

    def _find_place(self, sample_id: str) -> "_Place":
        """Looks around where it should be, then halves what is left."""
        low, high, before = 0, self._num_samples, np.zeros(0, RECORD)
        window = max(MIN_SEARCH_WINDOW, 4 * isqrt(self._num_samples))
        guess = self._guess(sample_id)
        while low < high:
            start = max(low, min(guess - window // 2, high - 1))
            records = self._read_records(start, min(window, high - start))
            count = _count_up_to(records, sample_id)
            before = records[count - 1 : count] if count else before
            if count == 0 and start > low:
                high = start
            elif count == len(records) and start + count < high:
                low = start + count
            else:
                return _Place(start + count, before)
            guess = (low + high) // 2
        return _Place(low, before)

    def _guess(self, sample_id: str) -> int:
        return (int(sample_id, 16) * self._num_samples) >> (4 * ID_LENGTH)

    def _read_records(self, start: int, count: int) -> Records:
        count = min(count, self._num_samples - start)
        content = self._read(start * RECORD.itemsize, count * RECORD.itemsize)
        return np.frombuffer(content, RECORD)

    def _load(self, records: Records) -> list[Sample]:
        return [_unpack(record, path) for record, path in zip(records, self._read_paths(records), strict=True)]

    def _read_paths(self, records: Records) -> Iterator[str]:
        """Neighbours in one read."""
        places = [(int(record["path_offset"]), int(record["path_bytes"])) for record in records]
        first = 0
        for index, (offset, size) in enumerate(places):
            is_last = index + 1 == len(places)
            if not is_last and 0 <= places[index + 1][0] - (offset + size) <= PATH_GAP_BYTES:
                continue
            start = places[first][0]
            content = self._read(start, offset + size - start)
            for path_offset, path_bytes in places[first : index + 1]:
                yield content[path_offset - start : path_offset - start + path_bytes].decode(errors="replace")
            first = index + 1


def _split_id(sample_id: str) -> tuple[int, int]:
    return int(sample_id[:16], 16), int(sample_id[16:], 16)


def _get_id(record: np.void) -> str:
    return f"{int(record['high']):016x}{int(record['low']):016x}"


def _pack(sample: Sample) -> tuple[int, ...]:
    findings = sum(1 << SAMPLE_FINDINGS.index(finding) for finding in set(sample.findings))
    return (
        sample.label,
        SPLITS.index(sample.split),
        findings,
        sample.width,
        sample.height,
        sample.size_bytes,
    )


def _unpack(record: np.void, path: str) -> Sample:
    bits = int(record["findings"])
    return Sample(
        sample_id=_get_id(record),
        path=path,
        label=int(record["label"]),
        split=SPLITS[int(record["split"])],
        width=int(record["width"]),
        height=int(record["height"]),
        size_bytes=int(record["size_bytes"]),
        findings=tuple(finding for bit, finding in enumerate(SAMPLE_FINDINGS) if bits >> bit & 1),
        thumbnail=Thumbnail(
            int(record["thumbnail_shard"]), int(record["thumbnail_offset"]), int(record["thumbnail_bytes"])
        ),
    )


def _count_up_to(records: Records, sample_id: str) -> int:
    """How many ids are not larger."""
    high, low = _split_id(sample_id)
    return int(np.count_nonzero((records["high"] < high) | ((records["high"] == high) & (records["low"] <= low))))


def _match(records: Records, query: SampleQuery) -> NDArray[np.bool_]:
    matching = np.ones(len(records), np.bool_)
    if query.label is not None:
        matching &= records["label"] == query.label
    if query.split is not None:
        matching &= records["split"] == SPLITS.index(query.split)
    if query.finding is not None:
        matching &= (records["findings"] >> SAMPLE_FINDINGS.index(query.finding) & 1).astype(np.bool_)
    return matching
