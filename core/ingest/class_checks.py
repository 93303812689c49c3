"""What is said about the classes, once the splits are known."""

from collections import Counter

from core.dataset_index import IndexEntry
from core.ingest.findings import FindingCode, FindingLog

IMBALANCE_RATIO = 10
SMALL_CLASS = 20  # different pictures: the accuracy on a fifth of them is known to within 45 %


def check_classes(entries: list[IndexEntry], classes: tuple[str, ...], log: FindingLog) -> None:
    """`entries` have their final splits and duplicate groups; every class has some in train."""
    _find_small(entries, classes, log)
    _find_missing(entries, classes, log)
    _find_imbalance(entries, classes, log)


def _find_small(entries: list[IndexEntry], classes: tuple[str, ...], log: FindingLog) -> None:
    different = Counter(label for label, _ in {(entry.label, entry.duplicate_group) for entry in entries})
    for label, name in enumerate(classes):
        if different[label] < SMALL_CLASS:
            log.add(FindingCode.CLASS_SMALL, name, f"it has {different[label]} different pictures")


def _find_missing(entries: list[IndexEntry], classes: tuple[str, ...], log: FindingLog) -> None:
    present = {(entry.split, entry.label) for entry in entries}
    for split in ("val", "test"):
        if any(found == split for found, _ in present):
            for label, name in enumerate(classes):
                if (split, label) not in present:
                    log.add(FindingCode.CLASS_MISSING_IN_SPLIT, name, f"it has no picture in '{split}'")


def _find_imbalance(entries: list[IndexEntry], classes: tuple[str, ...], log: FindingLog) -> None:
    (largest, most), *_, (smallest, least) = Counter(entry.label for entry in entries).most_common()
    if most > IMBALANCE_RATIO * least:
        message = f"it has {least} images, '{classes[largest]}' has {most}"
        log.add(FindingCode.CLASS_IMBALANCE, classes[smallest], message)
