"""Pictures that look the same: findings, and groups that no split may cut."""

from collections import defaultdict

import numpy as np

from core.dataset_index import IndexEntry
from core.ingest.findings import FindingCode, FindingLog
from core.ingest.near_duplicates import group_near_duplicates
from core.ingest.pictures import SIGNATURE_BYTES

Groups = list[list[IndexEntry]]


def join_near_duplicates(entries: list[IndexEntry], signatures: list[bytes], log: FindingLog) -> list[IndexEntry]:
    """`entries` have groups of equal pixels, and the splits that the archive gives; the result has wider groups."""
    groups = _find_groups(entries, signatures)
    new_names = {}
    for group in groups:
        _report(group, log)
        names = {entry.duplicate_group for entry in group}
        new_names.update(dict.fromkeys(names, min(names)))
    return [_rename(entry, new_names) for entry in entries]


def _find_groups(entries: list[IndexEntry], signatures: list[bytes]) -> Groups:
    """One of several equal pictures stands for all of them in the search."""
    copies = defaultdict(list)
    for index, entry in enumerate(entries):
        copies[entry.duplicate_group].append(index)
    names = list(copies)
    stacked = b"".join(signatures[copies[name][0]] for name in names)
    found = group_near_duplicates(np.frombuffer(stacked, np.uint8).reshape(-1, SIGNATURE_BYTES))
    return [[entries[index] for place in group for index in copies[names[place]]] for group in found]


def _report(group: list[IndexEntry], log: FindingLog) -> None:
    splits = sorted({entry.split for entry in group})
    log_group = f"{len(group)} pictures look nearly the same"
    if len({entry.label for entry in group}) > 1:
        log.add_about(FindingCode.NEAR_DUPLICATE_LABELS, group, f"{log_group} but are in different classes")
    if len(splits) > 1:
        where = " and ".join(f"'{split}'" for split in splits)
        log.add_about(FindingCode.NEAR_DUPLICATE_ACROSS_SPLITS, group, f"{log_group}, in {where}")
    else:
        log.add_about(FindingCode.NEAR_DUPLICATES, group, log_group)


def _rename(entry: IndexEntry, new_names: dict[str, str]) -> IndexEntry:
    name = new_names.get(entry.duplicate_group)
    return entry if name is None else entry.model_copy(update={"duplicate_group": name})
