"""Train, validation and test: stratified by class, never through a duplicate group, by hash: the same anywhere."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from math import floor

from core.dataset_index import IndexEntry, Split


def assign_test_split(entries: list[IndexEntry], *, fraction: float) -> list[IndexEntry]:
    """Moves `fraction` of each class from train to test; with a test split in the archive nothing is moved.

    The draw has no seed: it is fixed by the pixels themselves, on every machine, for as long as the dataset lives.
    """
    if fraction == 0 or any(entry.split == "test" for entry in entries):
        return entries
    return _move(entries, fraction=fraction, salt="test", target="test")


def draw_validation(entries: list[IndexEntry], *, fraction: float, seed: int) -> list[IndexEntry]:
    """Moves `fraction` of each class from train to val; with a val split in the archive nothing is moved."""
    if any(entry.split == "val" for entry in entries):
        return entries
    return _move(entries, fraction=fraction, salt=f"val:{seed}", target="val")


def _move(entries: list[IndexEntry], *, fraction: float, salt: str, target: Split) -> list[IndexEntry]:
    moved = _choose_groups([entry for entry in entries if entry.split == "train"], fraction=fraction, salt=salt)
    return [
        entry.model_copy(update={"split": target})
        if entry.split == "train" and entry.duplicate_group in moved
        else entry
        for entry in entries
    ]


def _choose_groups(entries: Iterable[IndexEntry], *, fraction: float, salt: str) -> set[str]:
    """Of each class the groups with the lowest hashes: at least one where it has two, and never all of them."""
    groups_by_label: dict[int, set[str]] = defaultdict(set)
    label_of_group: dict[str, int] = {}
    for entry in entries:
        label = label_of_group.setdefault(entry.duplicate_group, entry.label)  # a group counts for one class
        groups_by_label[label].add(entry.duplicate_group)
    chosen: set[str] = set()
    for groups in groups_by_label.values():
        ordered = sorted(groups, key=lambda group: _hash(salt, group))
        count = min(max(1, floor(fraction * len(ordered) + 0.5)), len(ordered) - 1)
        chosen.update(ordered[:count])
    return chosen


def _hash(salt: str, group: str) -> bytes:
    return hashlib.sha256(f"{salt}:{group}".encode()).digest()
