"""Makes entries of an index."""

import hashlib

from core.dataset_index import IndexEntry, Split


def make_entry(
    index: int, *, label: int = 0, split: Split = "train", group: str | None = None, path: str | None = None
) -> IndexEntry:
    sample_id = hashlib.sha256(f"{label}-{index}".encode()).hexdigest()[:32]
    return IndexEntry(
        sample_id=sample_id,
        shard="0.tar",
        offset=512,
        size_bytes=1,
        label=label,
        split=split,
        width=32,
        height=32,
        sha256="",
        path=path or f"{label}/{index}.png",
        duplicate_group=group or sample_id,
    )
