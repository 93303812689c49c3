from collections import Counter, defaultdict

import pytest

from core.dataset_index import IndexEntry, Split
from core.ingest.splits import assign_splits, draw_validation


def _entry(index: int, label: int, *, group: str | None = None, split: Split = "train") -> IndexEntry:
    return IndexEntry(
        sample_id=f"{label}-{index}",
        shard="0.tar",
        offset=0,
        size_bytes=1,
        label=label,
        split=split,
        width=8,
        height=8,
        sha256="",
        path=f"{label}/{index}.png",
        duplicate_group=group or f"{label}-{index}",
    )


def _entries(*counts: int) -> list[IndexEntry]:
    return [_entry(index, label) for label, count in enumerate(counts) for index in range(count)]


def _count(entries: list[IndexEntry], split: Split) -> Counter[int]:
    return Counter(entry.label for entry in entries if entry.split == split)


def test_test_split_is_stratified() -> None:
    split = assign_splits(_entries(100, 50, 10), test_fraction=0.2)

    assert _count(split, "test") == {0: 20, 1: 10, 2: 2}


def test_splits_do_not_depend_on_order() -> None:
    forth = assign_splits(_entries(30, 30), test_fraction=0.2)
    back = assign_splits(_entries(30, 30)[::-1], test_fraction=0.2)

    assert sorted(back, key=lambda entry: entry.sample_id) == sorted(forth, key=lambda entry: entry.sample_id)


def test_test_split_of_the_archive_is_kept() -> None:
    entries = [*_entries(10, 10), _entry(99, 0, split="test")]

    assert assign_splits(entries, test_fraction=0.2) == entries


def test_without_a_fraction_nothing_is_drawn() -> None:
    entries = _entries(10, 10)

    assert assign_splits(entries, test_fraction=0) == entries
    assert draw_validation(entries, fraction=0, seed=0) == entries


def test_validation_is_drawn_from_train_alone() -> None:
    entries = assign_splits(_entries(100, 50), test_fraction=0.2)

    drawn = draw_validation(entries, fraction=0.25, seed=0)

    assert _count(drawn, "val") == {0: 20, 1: 10}
    assert _count(drawn, "test") == _count(entries, "test")


def test_another_seed_draws_another_validation() -> None:
    entries = _entries(100, 100)

    assert draw_validation(entries, fraction=0.2, seed=0) == draw_validation(entries, fraction=0.2, seed=0)
    assert draw_validation(entries, fraction=0.2, seed=0) != draw_validation(entries, fraction=0.2, seed=1)


def test_validation_of_the_archive_is_kept() -> None:
    entries = [*_entries(10, 10), _entry(99, 0, split="val")]

    assert draw_validation(entries, fraction=0.2, seed=0) == entries


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (2, 1), (3, 1), (5, 1)])
def test_small_class_gives_one_where_it_can(count: int, expected: int) -> None:
    drawn = draw_validation(_entries(count, 20), fraction=0.1, seed=0)

    assert _count(drawn, "val")[0] == expected


def test_most_of_a_class_stays_in_train() -> None:
    drawn = draw_validation(_entries(10, 10), fraction=0.99, seed=0)

    assert _count(drawn, "train") == {0: 1, 1: 1}


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_never_cut_and_every_class_stays_in_train(seed: int) -> None:
    shared = [_entry(100 + index, index % 3, group=f"shared-{index // 2}") for index in range(12)]
    big = [_entry(200 + index, 2, group="big") for index in range(9)]
    entries = [*_entries(6, 4, 1), *shared, *big, _entry(300, 3, group="shared-0")]

    drawn = draw_validation(entries, fraction=0.3, seed=seed)

    splits = defaultdict(set)
    for entry in drawn:
        splits[entry.duplicate_group].add(entry.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set(_count(drawn, "train")) == {0, 1, 2, 3}
    assert all(_count(drawn, "val")[label] > 0 for label in (0, 1, 2))


def test_large_group_is_not_taken_where_small_ones_do() -> None:
    entries = [*(_entry(index, 0, group="big") for index in range(9)), _entry(9, 0), _entry(10, 0)]

    for seed in range(10):
        assert _count(draw_validation(entries, fraction=0.2, seed=seed), "val")[0] <= 2
