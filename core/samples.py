"""Looks at the samples of an imported dataset, and at their thumbnails."""

from collections.abc import Iterator
from contextlib import contextmanager

from core.dataset_files import DatasetFiles
from core.dataset_index import THUMBNAILS_DIR
from core.datasets import ClassCounts
from core.db.tables import Dataset
from core.errors import InvalidInputError, NotFoundError
from core.paging import Page
from core.sample_table import SAMPLES_FILE, Sample, SampleQuery, SampleTable, is_sample_id
from core.storage import Storage
from core.storage_errors import ObjectCorruptError

MAX_THUMBNAIL_BYTES = 65_536


def list_classes(dataset: Dataset) -> list[str]:
    """In the frozen order; a sample's label is an index into it."""
    return [ClassCounts.model_validate(item).name for item in dataset.classes or []]


def find_label(dataset: Dataset, name: str) -> int:
    try:
        return list_classes(dataset).index(name)
    except ValueError as exc:
        raise InvalidInputError(
            "unknown_class",
            f"the dataset has no class '{name[:100]}'",
            hint="see `classes` of the dataset",
            param="class",
        ) from exc


def list_samples(
    storage: Storage, dataset: Dataset, query: SampleQuery, *, after: str | None, limit: int
) -> Page[Sample]:
    if after is not None and not is_sample_id(after):
        raise InvalidInputError("unknown_sample", "`after` is no id of a sample", param="after")
    table = _open_table(DatasetFiles(storage, dataset), dataset)
    with _translated():
        found = table.select(query, after=after, limit=limit + 1)
    return Page(rows=found[:limit], has_more=len(found) > limit)


def read_thumbnail(storage: Storage, dataset: Dataset, sample_id: str) -> bytes:
    files = DatasetFiles(storage, dataset)
    table = _open_table(files, dataset)
    with _translated():
        sample = table.find(sample_id) if is_sample_id(sample_id) else None
    if sample is None:
        raise NotFoundError(
            "sample_not_found",
            f"the dataset has no sample '{sample_id}'",
            hint="`GET /datasets/{id}/samples` lists them",
        )
    shard, offset, size_bytes = sample.thumbnail
    if size_bytes > MAX_THUMBNAIL_BYTES:
        raise _corrupt()
    return files.read_range(f"{THUMBNAILS_DIR}/{shard}.tar", offset, size_bytes)


def _open_table(files: DatasetFiles, dataset: Dataset) -> SampleTable:
    return SampleTable(files.make_reader(SAMPLES_FILE), dataset.num_samples or 0)


@contextmanager
def _translated() -> Iterator[None]:
    """A process in a stranger's hands may have written the table."""
    try:
        yield
    except (IndexError, ValueError) as exc:
        raise _corrupt() from exc


def _corrupt() -> ObjectCorruptError:
    return ObjectCorruptError("object_corrupt", "the table of samples cannot be read")
