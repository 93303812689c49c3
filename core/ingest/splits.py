"""Train, validation and test: stratified by class, never through a duplicate group, by hash: the same anywhere."""

import hashlib
from collections import Counter, defaultdict

from core.dataset_index import IndexEntry, Split


def assign_splits(entries: list[IndexEntry], *, test_fraction: float) -> list[IndexEntry]:
    """Keeps the archive's own test split; without one, a share of its train entries becomes it."""
    if any(entry.split == "test" for entry in entries):
        return entries
    return _draw(entries, "test", fraction=test_fraction, salt="test")


def draw_validation(entries: list[IndexEntry], *, fraction: float, seed: int) -> list[IndexEntry]:
    """Keeps the archive's own validation split; without one, a share of the train entries becomes it."""
    if any(entry.split == "val" for entry in entries):
        return entries
    return _draw(entries, "val", fraction=fraction, salt=f"val:{seed}")


def _draw(entries: list[IndexEntry], split: Split, *, fraction: float, salt: str) -> list[IndexEntry]:
    chosen = _choose_groups([entry for entry in entries if entry.split == "train"], fraction=fraction, salt=salt)
    return [
        entry.model_copy(update={"split": split})
        if entry.split == "train" and entry.duplicate_group in chosen
        else entry
        for entry in entries
    ]


def _choose_groups(entries: list[IndexEntry], *, fraction: float, salt: str) -> set[str]:
    """At least one group of each class that has two or more, and never the last one of a class."""
    if fraction <= 0:
        return set()
    groups = _count_labels_by_group(entries)
    wanted = _count_wanted(entries, fraction)
    groups_left = Counter(label for labels in groups.values() for label in labels)
    taken: Counter[int] = Counter()
    chosen = set()
    for group in _order(groups, wanted, salt):
        labels = groups[group]
        home = min(labels)  # a group under two labels counts for one of them
        is_wanted = taken[home] == 0 or taken[home] + labels[home] <= wanted[home]
        if is_wanted and all(groups_left[label] > 1 for label in labels):
            chosen.add(group)
            taken.update(labels)
            groups_left.subtract(labels.keys())
    return chosen


def _count_labels_by_group(entries: list[IndexEntry]) -> dict[str, Counter[int]]:
    groups: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in entries:
        groups[entry.duplicate_group][entry.label] += 1
    return groups


def _count_wanted(entries: list[IndexEntry], fraction: float) -> dict[int, int]:
    counts = Counter(entry.label for entry in entries)
    return {label: max(1, round(fraction * count)) for label, count in counts.items()}


def _order(groups: dict[str, Counter[int]], wanted: dict[int, int], salt: str) -> list[str]:
    """By hash, but groups larger than what is wanted come last."""

    def rank(group: str) -> tuple[int, bytes]:
        excess = max(0, groups[group][min(groups[group])] - wanted[min(groups[group])])
        return excess, hashlib.sha256(f"{salt}:{group}".encode()).digest()

    return sorted(groups, key=rank)
