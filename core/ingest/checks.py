"""Looks at all samples together: what makes a dataset useless is an error, what makes it worse a finding."""

from collections import Counter, defaultdict

from core.dataset_index import IndexEntry
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import FindingCode, FindingLog

MAX_CONFLICTING_SHARE = 0.01
MAX_CONFLICTING_GROUPS = 3  # in a small dataset one picture is more than the share already
Groups = dict[str, list[IndexEntry]]


def check_samples(
    entries: list[IndexEntry], classes: tuple[str, ...], log: FindingLog, *, min_images_per_class: int
) -> None:
    """`entries` have the splits that the archive gives. Raises ImportRejectedError."""
    _check_class_sizes(entries, classes, min_images_per_class)
    _check_train_split(entries, classes)
    groups: Groups = defaultdict(list)
    for entry in entries:
        groups[entry.duplicate_group].append(entry)
    repeated = {group: copies for group, copies in groups.items() if len(copies) > 1}
    _check_labels(repeated, len(entries), classes, log)
    _find_duplicates(repeated, log)


def _check_class_sizes(entries: list[IndexEntry], classes: tuple[str, ...], minimum: int) -> None:
    different = Counter(label for label, _ in {(entry.label, entry.duplicate_group) for entry in entries})
    small = [f"'{name}' ({different[label]})" for label, name in enumerate(classes) if different[label] < minimum]
    if small:
        raise ImportRejectedError(
            "class_too_small",
            f"classes with fewer than {minimum} different usable images: {_shorten(small)}",
            hint="add images to them, or remove their folders",
        )


def _check_train_split(entries: list[IndexEntry], classes: tuple[str, ...]) -> None:
    in_train = {entry.label for entry in entries if entry.split == "train"}
    missing = [f"'{name}'" for label, name in enumerate(classes) if label not in in_train]
    if missing:
        raise ImportRejectedError(
            "class_not_in_train", f"classes without images below 'train': {_shorten(missing)}", hint="add some there"
        )


def _check_labels(repeated: Groups, num_entries: int, classes: tuple[str, ...], log: FindingLog) -> None:
    conflicting = [copies for copies in repeated.values() if len({entry.label for entry in copies}) > 1]
    for copies in conflicting:
        names = " and ".join(f"'{classes[label]}'" for label in sorted({entry.label for entry in copies}))
        log.add_about(FindingCode.CONFLICTING_LABELS, copies, f"the same picture is in {names}")
    share = sum(len(copies) for copies in conflicting) / num_entries
    if share > MAX_CONFLICTING_SHARE and len(conflicting) > MAX_CONFLICTING_GROUPS:
        first = [f"'{copies[0].path}' and '{copies[1].path}'" for copies in conflicting]
        raise ImportRejectedError(
            "conflicting_labels",
            f"{share:.1%} of the images are in two classes at once: {_shorten(first)}",
            hint="keep each picture in one class",
        )


def _find_duplicates(repeated: Groups, log: FindingLog) -> None:
    for copies in repeated.values():
        if len({entry.split for entry in copies}) > 1:
            splits = " and ".join(sorted({f"'{entry.split}'" for entry in copies}))
            log.add_about(FindingCode.DUPLICATE_ACROSS_SPLITS, copies, f"{len(copies)} copies, in {splits}")
        else:
            log.add_about(FindingCode.DUPLICATE_IMAGES, copies, f"{len(copies)} pictures with the same pixels")


def _shorten(texts: list[str], limit: int = 10) -> str:
    more = [f"{len(texts) - limit} more"] if len(texts) > limit else []
    return ", ".join(texts[:limit] + more)
