"""Use cases of datasets: they come in as an upload or a URL, and an import run makes them ready."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from core import deletions, uploads
from core.db.tables import Dataset, Job, Run, Upload
from core.db.tenant_tables import ImportSource
from core.errors import ConflictError, InvalidInputError, NotFoundError
from core.ids import make_id
from core.masking import mask_url, name_file
from core.paging import Page, PageRequest, fetch_page
from core.quotas import UNLIMITED, Quotas, charge_bytes, charge_dataset
from core.runs import claims, lifecycle
from core.runs.types import Claim, RunKind
from core.states import TERMINAL, RunStatus
from core.storage import StoredObject
from core.storage_keys import dataset_prefix

Metadata = dict[str, str]


class ClassCounts(BaseModel):
    """One class and its samples by split."""

    model_config = ConfigDict(frozen=True)

    name: str
    train: int
    val: int
    test: int


class StoredFile(BaseModel):
    """One file of a dataset, a checkpoint or a model below its prefix."""

    model_config = ConfigDict(frozen=True)

    name: str
    size_bytes: int
    sha256: str


class DatasetState(NamedTuple):
    """A dataset with the run that imports it."""

    dataset: Dataset
    run: Run


class DatasetFilter(NamedTuple):
    """Which datasets of a project are listed; None is any."""

    statuses: frozenset[RunStatus] | None = None  # of their imports
    name: str | None = None
    metadata: Metadata | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        if self.statuses is not None:
            yield Dataset.run_id.in_(select(Run.id).where(Run.status.in_(self.statuses)))
        if self.name is not None:
            yield Dataset.name == self.name
        if self.metadata:
            yield Dataset.details.contains(self.metadata)


NO_FILTER = DatasetFilter()


class ImportedDataset(NamedTuple):
    """What a finished import knows."""

    num_samples: int
    classes: list[ClassCounts]
    report: dict[str, Any]  # the report's summary, JSON
    files: list[StoredFile]


def require_one_source(dataset_id: str | None, dataset_url: str | None) -> None:
    if (dataset_id is None) == (dataset_url is None):
        raise InvalidInputError(
            "dataset_required", "name exactly one of `dataset_id` and `dataset_url`", param="dataset_id"
        )


def create_dataset_from_upload(
    session: Session,
    *,
    project_id: str,
    name: str,
    upload_id: str,
    test_fraction: float,
    metadata: Metadata,
    quotas: Quotas = UNLIMITED,
) -> DatasetState:
    charge_dataset(session, project_id, quotas)
    upload = uploads.take_upload(session, project_id, upload_id)
    return _create(session, upload, name=name, source_url=None, test_fraction=test_fraction, metadata=metadata)


def create_dataset_from_url(
    session: Session,
    *,
    project_id: str,
    name: str,
    url: str,
    test_fraction: float,
    metadata: Metadata,
    quotas: Quotas = UNLIMITED,
) -> DatasetState:
    """The importer fetches the bytes into an upload of their own; only it sees the whole URL."""
    charge_dataset(session, project_id, quotas)
    filename = name_file(url, default="archive")[:500]
    upload = uploads.start_upload(session, project_id=project_id, filename=filename, lifetime_hours=None)
    state = _create(
        session, upload, name=name, source_url=mask_url(url)[:2048], test_fraction=test_fraction, metadata=metadata
    )
    session.add(ImportSource(run_id=state.run.id, url=url))
    return state


def get_dataset(session: Session, project_id: str, dataset_id: str) -> DatasetState:
    row = session.execute(
        select(Dataset, Run)
        .join(Run, Run.id == Dataset.run_id)
        .where(Dataset.project_id == project_id, Dataset.id == dataset_id, Dataset.deleted_at.is_(None))
    ).one_or_none()
    if row is None:
        raise NotFoundError(
            "dataset_not_found",
            f"there is no dataset '{dataset_id}'",
            hint="`GET /datasets` lists those of the key's project",
            param="dataset_id",
        )
    return DatasetState(row[0], row[1])


def get_trainable_dataset(session: Session, project_id: str, dataset_id: str) -> DatasetState:
    """Ready, or still being imported; it stays until the transaction ends."""
    _lock(session, project_id, dataset_id, shared=True)
    state = get_dataset(session, project_id, dataset_id)
    if state.run.status in {RunStatus.FAILED, RunStatus.CANCELLED}:
        raise ConflictError("dataset_failed", "this dataset was not imported", hint="see its `error`, and import again")
    return state


def list_datasets(
    session: Session, project_id: str, page: PageRequest, wanted: DatasetFilter = NO_FILTER
) -> Page[DatasetState]:
    query = select(Dataset).where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None), *wanted.conditions())
    found = fetch_page(session, query, Dataset.id, page)
    runs = {run.id: run for run in session.scalars(select(Run).where(Run.id.in_([row.run_id for row in found.rows])))}
    return Page(rows=[DatasetState(row, runs[row.run_id]) for row in found.rows], has_more=found.has_more)


def delete_dataset(session: Session, project_id: str, dataset_id: str) -> None:
    """Waits for who is about to need it, and is waited for."""
    _lock(session, project_id, dataset_id, shared=False)
    dataset, run = get_dataset(session, project_id, dataset_id)
    _refuse_if_needed(session, dataset, run)
    if not lifecycle.is_terminal(run):
        lifecycle.request_cancel(session, run.id)
    dataset.deleted_at = session.scalar(select(func.clock_timestamp()))
    _forget_source(session, run.id)
    deletions.schedule(session, dataset_prefix(dataset.id))


def get_dataset_of_run(session: Session, run_id: str) -> tuple[Dataset, Upload]:
    row = session.execute(
        select(Dataset, Upload).join(Upload, Upload.id == Dataset.upload_id).where(Dataset.run_id == run_id)
    ).one()
    return row[0], row[1]


def find_dataset_id(session: Session, run_id: str) -> str | None:
    return session.scalar(select(Dataset.id).where(Dataset.run_id == run_id))


def record_fetched(session: Session, held: Claim, key: str, stored: StoredObject, quotas: Quotas = UNLIMITED) -> None:
    """The bytes that a URL returned are in the store now; a later attempt need not fetch them again."""
    _, upload = get_dataset_of_run(session, held.run_id)
    if upload.completed_at is None:  # else it was recorded before, by a commit whose answer got lost
        charge_bytes(session, held.project_id, quotas, size_bytes=stored.size_bytes)
    upload = record_archive(session, held, stored)
    upload.storage_key = key
    _forget_source(session, held.run_id)


def record_archive(session: Session, held: Claim, stored: StoredObject) -> Upload:
    """The archive was read once: a later attempt knows what to find."""
    claims.guard(session, held)
    dataset, upload = get_dataset_of_run(session, held.run_id)
    uploads.complete_upload(session, upload.id, stored)
    _show_archive(dataset, upload)
    return upload


def find_source_url(session: Session, run_id: str) -> str | None:
    """The whole URL; None once it was fetched, and where the bytes came as an upload."""
    return session.scalar(select(ImportSource.url).where(ImportSource.run_id == run_id))


def finish_import(session: Session, held: Claim, imported: ImportedDataset) -> None:
    """Dataset ready and run succeeded, in one transaction."""
    claims.guard(session, held)
    dataset, _ = get_dataset_of_run(session, held.run_id)
    dataset.attempt = held.attempt
    dataset.size_bytes = sum(file.size_bytes for file in imported.files)
    dataset.num_samples = imported.num_samples
    dataset.classes = [counts.model_dump() for counts in imported.classes]
    dataset.report = imported.report
    dataset.files = [file.model_dump() for file in imported.files]
    claims.succeed(session, held)


def _create(
    session: Session, upload: Upload, *, name: str, source_url: str | None, test_fraction: float, metadata: Metadata
) -> DatasetState:
    run = lifecycle.submit(session, project_id=upload.project_id, kind=RunKind.IMPORT)
    dataset = Dataset(
        id=make_id("ds"),
        project_id=upload.project_id,
        run_id=run.id,
        upload_id=upload.id,
        name=name,
        details=metadata,
        source_url=source_url,
        test_fraction=test_fraction,
    )
    _show_archive(dataset, upload)
    session.add(dataset)
    session.flush()
    return DatasetState(dataset, run)


def _show_archive(dataset: Dataset, upload: Upload) -> None:
    dataset.sha256 = upload.sha256
    dataset.archive_size_bytes = upload.size_bytes


def _lock(session: Session, project_id: str, dataset_id: str, *, shared: bool) -> None:
    """By a statement of its own, so that the next one sees what was committed meanwhile."""
    row = select(Dataset.id).where(Dataset.project_id == project_id, Dataset.id == dataset_id)
    session.execute(row.with_for_update(read=shared))


def _forget_source(session: Session, run_id: str) -> None:
    session.execute(delete(ImportSource).where(ImportSource.run_id == run_id))


def _refuse_if_needed(session: Session, dataset: Dataset, run: Run) -> None:
    busy = session.scalar(
        select(Job.id)
        .join(Run, Run.id == Job.run_id)
        .where(Job.dataset_id == dataset.id, Run.status.not_in(TERMINAL))
        .limit(1)
    )
    if busy is not None:
        raise ConflictError("dataset_in_use", f"the job '{busy}' needs it", hint="cancel the job or wait for its end")
    if run.status == RunStatus.RUNNING:
        raise ConflictError("dataset_importing", "it is being imported right now", hint="wait for the import to end")
