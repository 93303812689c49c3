from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cli.demo.cells import draw_cells
from core.dataset_index import IndexEntry
from core.images import ImageLimits
from core.ingest.findings import FindingCode, FindingLog
from core.ingest.near_duplicates import (
    MAX_DISTANCE,
    MIN_CORRELATION,
    Signatures,
    compute_hashes,
    group_near_duplicates,
)
from core.ingest.pictures import SIGNATURE_BYTES, Inspected, inspect
from core.ingest.resemblance import join_near_duplicates
from core.ingest.splits import assign_splits, draw_validation
from tests.core.ingest.entries import make_entry
from tests.pictures import encode, make_picture

NUM_CELLS = 200


@pytest.fixture(scope="module")
def cells() -> list[Image.Image]:
    """Real pictures, hard ones: solar cells that differ in their cracks."""
    (drawn,) = draw_cells(NUM_CELLS, seed=1)
    return [Image.open(cell.path).convert("RGB") for cell in drawn]


def _sign(pictures: list[Image.Image]) -> Signatures:
    inspected = [inspect(encode(picture, "BMP"), ImageLimits()) for picture in pictures]
    signatures = b"".join(one.signature for one in inspected if isinstance(one, Inspected))
    return np.frombuffer(signatures, np.uint8).reshape(-1, SIGNATURE_BYTES)


def _recompress(picture: Image.Image) -> Image.Image:
    return Image.open(BytesIO(encode(picture, "JPEG", quality=50)))


def _halve(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


def _brighten(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1.1)


CHANGES = {"recompressed": _recompress, "half as large": _halve, "brighter": _brighten}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_picture_is_found(cells: list[Image.Image], change: object) -> None:
    assert callable(change)
    originals = cells[:40]
    signatures = _sign([*originals, *map(change, originals)])

    groups = group_near_duplicates(signatures)

    found = sum(any({index, index + 40} <= set(group) for group in groups) for index in range(40))
    assert found >= 36


def test_other_pictures_are_no_near_duplicates(cells: list[Image.Image]) -> None:
    groups = group_near_duplicates(_sign(cells))

    pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    assert pairs / (NUM_CELLS * (NUM_CELLS - 1) / 2) < 2e-4


def test_search_finds_what_comparing_all_pairs_finds(cells: list[Image.Image]) -> None:
    signatures = _sign([*cells[:60], *map(_recompress, cells[:60])])
    hashes = compute_hashes(signatures)

    grey = signatures.astype(np.float64)
    slow = {
        (left, right)
        for left, right in combinations(range(len(signatures)), 2)
        if int(hashes[left] ^ hashes[right]).bit_count() <= MAX_DISTANCE
        and np.corrcoef(grey[left], grey[right])[0, 1] >= MIN_CORRELATION
    }

    found = group_near_duplicates(signatures)
    assert {pair for pair in slow if not any(set(pair) <= set(group) for group in found)} == set()
    assert {index for group in found for index in group} == {index for pair in slow for index in pair}


def test_hash_is_the_sign_of_each_step_to_the_right() -> None:
    rising = np.tile(np.arange(16, dtype=np.uint8) * 10, (16, 1))

    hashes = compute_hashes(np.stack([rising.ravel(), rising[:, ::-1].ravel()]))

    assert [int(value) for value in hashes] == [2**64 - 1, 0]


def test_pictures_of_one_colour_are_not_near_duplicates() -> None:
    assert group_near_duplicates(_sign([Image.new("RGB", (32, 32), (shade, 9, 9)) for shade in range(20)])) == []


def test_hundred_thousand_alike_are_one_group_in_bounded_time() -> None:
    signature = np.random.default_rng(0).integers(0, 256, (1, SIGNATURE_BYTES), dtype=np.uint8)

    (group,) = group_near_duplicates(np.repeat(signature, 20_000, axis=0))

    assert len(group) == 20_000


def _join(pictures: list[Image.Image], entries: list[IndexEntry]) -> tuple[list[IndexEntry], FindingLog]:
    log = FindingLog()
    signatures = [signature.tobytes() for signature in _sign(pictures)]
    return join_near_duplicates(entries, signatures, log), log


def test_splits_made_here_keep_near_duplicates_together(cells: list[Image.Image]) -> None:
    originals = cells[:40]
    pictures = [*originals, *map(_recompress, originals)]
    entries, _ = _join(pictures, [make_entry(index, label=index % 2) for index in range(80)])

    drawn = draw_validation(assign_splits(entries, test_fraction=0.3), fraction=0.3, seed=0)

    pairs = [(drawn[index], drawn[index + 40]) for index in range(40)]
    together = [
        first.split == second.split for first, second in pairs if first.duplicate_group == second.duplicate_group
    ]
    assert len(together) > 30
    assert all(together)


def test_near_duplicates_in_given_splits_and_classes_are_reported(cells: list[Image.Image]) -> None:
    pictures = [cells[0], _recompress(cells[0]), make_picture(1)]
    entries = [make_entry(0), make_entry(1, label=1, split="test"), make_entry(2)]

    _, log = _join(pictures, entries)

    assert dict(log.counts) == {
        FindingCode.NEAR_DUPLICATE_LABELS: 1,
        FindingCode.NEAR_DUPLICATE_ACROSS_SPLITS: 1,
    }
    assert set(log.codes_of) == {entries[0].sample_id, entries[1].sample_id}
