"""What a project may have: the settings' defaults, or what the operator set for it. Counted under the project's lock.

A charge comes first in its transaction, before any run is locked: so that no two wait for each other.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, assert_never

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    SQLColumnExpression,
    case,
    delete,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.tables import Checkpoint, Dataset, Job, Model, Project, Run, Upload
from core.db.tenant_tables import RUNNING_JOBS, ProjectQuota
from core.errors import OverloadedError
from core.runs.eligibility import has_status
from core.runs.types import QUEUES, RunKind
from core.settings import Settings
from core.states import TERMINAL, RunStatus

STREAM_MINUTES = 15  # for so long an upload through the API counts: the process that received it may have died
KEPT_DAYS = 1  # after which the bytes of an upload without an expiry, that became no dataset, are collected


class QuotaName(StrEnum):
    STORED_BYTES = "stored_bytes"
    DATASETS = "datasets"
    QUEUED_JOBS = "queued_jobs"
    RUNNING_JOBS = RUNNING_JOBS
    UPLOADS_AT_ONCE = "uploads_at_once"
    REQUESTS_PER_SECOND = "requests_per_second"


@dataclass(frozen=True)
class Quotas:
    """None is no limit."""

    stored_bytes: int | None = None
    datasets: int | None = None
    queued_jobs: int | None = None
    running_jobs: int | None = None
    uploads_at_once: int | None = None
    requests_per_second: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "Quotas":
        return cls(
            stored_bytes=settings.quota_stored_bytes,
            datasets=settings.quota_datasets,
            queued_jobs=settings.quota_queued_jobs,
            running_jobs=settings.quota_running_jobs,
            uploads_at_once=settings.quota_uploads_at_once,
            requests_per_second=settings.quota_requests_per_second,
        )

    def get(self, name: QuotaName) -> int | None:
        match name:
            case QuotaName.STORED_BYTES:
                return self.stored_bytes
            case QuotaName.DATASETS:
                return self.datasets
            case QuotaName.QUEUED_JOBS:
                return self.queued_jobs
            case QuotaName.RUNNING_JOBS:
                return self.running_jobs
            case QuotaName.UPLOADS_AT_ONCE:
                return self.uploads_at_once
            case QuotaName.REQUESTS_PER_SECOND:
                return self.requests_per_second
            case _:
                assert_never(name)


UNLIMITED = Quotas()


class Usage(NamedTuple):
    """What a project has now."""

    stored_bytes: int
    datasets: int
    queued_jobs: int
    running_jobs: int
    uploads_at_once: int


class QuotaError(OverloadedError):
    """A project has as much as it may; asked again it gets the same until something ends or is deleted."""

    def __init__(self, name: QuotaName, limit: int, message: str, *, hint: str, retryable: bool) -> None:
        super().__init__(f"quota_{name}", f"{message} (limit: {limit})", hint=hint)
        self.retryable = retryable
        self.retry_after_seconds = 60


def charge_dataset(session: Session, project_id: str, defaults: Quotas) -> None:
    """Raises QuotaError when one more dataset is too many."""
    limit = read_quotas(session, project_id, defaults).datasets
    if limit is None:
        return
    _lock(session, project_id)
    if _ask(session, _count_datasets(project_id)) >= limit:
        hint = "delete datasets that you no longer need, or ask the operator for more"
        raise QuotaError(QuotaName.DATASETS, limit, "the project has all its datasets", hint=hint, retryable=False)


def charge_job(session: Session, project_id: str, defaults: Quotas) -> None:
    """Raises QuotaError when one more run in the queue is too many; probes wait in the same queue, and count."""
    limit = read_quotas(session, project_id, defaults).queued_jobs
    if limit is None:
        return
    _lock(session, project_id)
    if _ask(session, _count_runs(project_id, RunStatus.QUEUED)) >= limit:
        hint = "wait until some have started, cancel some, or ask the operator for more"
        raise QuotaError(QuotaName.QUEUED_JOBS, limit, "the project has all its queued jobs", hint=hint, retryable=True)


def charge_upload(session: Session, project_id: str, defaults: Quotas, *, size_bytes: int | None = 0) -> None:
    """Raises QuotaError when one more upload, of at least `size_bytes`, is too many; None is one that will not stay."""
    quotas = read_quotas(session, project_id, defaults)
    if size_bytes is not None:
        _require_room(session, project_id, quotas, added=size_bytes)
    limit = quotas.uploads_at_once
    if limit is None:
        return
    _lock(session, project_id)
    if _ask(session, _count_uploads(project_id)) >= limit:
        hint = "wait until one is complete, abort one, or ask the operator for more"
        raise QuotaError(
            QuotaName.UPLOADS_AT_ONCE, limit, "the project has all its uploads at once", hint=hint, retryable=True
        )


def charge_bytes(session: Session, project_id: str, defaults: Quotas, *, size_bytes: int) -> None:
    """Raises QuotaError when so many bytes more are too many; call it before the row that counts them is written."""
    _require_room(session, project_id, read_quotas(session, project_id, defaults), added=size_bytes)


def read_quotas(session: Session, project_id: str, defaults: Quotas) -> Quotas:
    own = select(ProjectQuota.name, ProjectQuota.value).where(ProjectQuota.project_id == project_id)
    values = {row.name: row.value for row in session.execute(own)}
    return Quotas(
        stored_bytes=values.get(QuotaName.STORED_BYTES, defaults.stored_bytes),
        datasets=values.get(QuotaName.DATASETS, defaults.datasets),
        queued_jobs=values.get(QuotaName.QUEUED_JOBS, defaults.queued_jobs),
        running_jobs=values.get(QuotaName.RUNNING_JOBS, defaults.running_jobs),
        uploads_at_once=values.get(QuotaName.UPLOADS_AT_ONCE, defaults.uploads_at_once),
        requests_per_second=values.get(QuotaName.REQUESTS_PER_SECOND, defaults.requests_per_second),
    )


def set_quota(session: Session, project_id: str, name: QuotaName, value: int | None) -> None:
    """None is no limit, whatever the settings say."""
    row = insert(ProjectQuota).values(project_id=project_id, name=name, value=value)
    session.execute(row.on_conflict_do_update(index_elements=["project_id", "name"], set_={"value": value}))


def reset_quota(session: Session, project_id: str, name: QuotaName) -> None:
    """From now on the setting holds again."""
    own = (ProjectQuota.project_id == project_id, ProjectQuota.name == name)
    session.execute(delete(ProjectQuota).where(*own))


def read_usage(session: Session, project_id: str) -> Usage:
    return Usage(
        *session.execute(
            select(
                _sum_bytes(project_id),
                _count_datasets(project_id),
                _count_runs(project_id, RunStatus.QUEUED),
                _count_runs(project_id, RunStatus.RUNNING),
                _count_uploads(project_id),
            )
        ).one()
    )


def _require_room(session: Session, project_id: str, quotas: Quotas, *, added: int) -> None:
    limit = quotas.stored_bytes
    if limit is None:
        return
    _lock(session, project_id)
    used = _ask(session, _sum_bytes(project_id))
    if used + max(added, 1) > limit:
        hint = "delete datasets, jobs or models that you no longer need, or ask the operator for more"
        message = f"the project stores {used} bytes, and this would be too many"
        raise QuotaError(QuotaName.STORED_BYTES, limit, message, hint=hint, retryable=False)


def _lock(session: Session, project_id: str) -> None:
    """Until the transaction ends nobody else counts; rows that refer to the project are written all the same."""
    session.execute(select(Project.id).where(Project.id == project_id).with_for_update(key_share=True))


def _ask(session: Session, number: ScalarSelect[int]) -> int:
    return session.scalar(select(number)) or 0


def _count_datasets(project_id: str) -> ScalarSelect[int]:
    query = select(func.count()).where(Dataset.project_id == project_id, Dataset.deleted_at.is_(None))
    return query.scalar_subquery()


def _count_runs(project_id: str, status: RunStatus) -> ScalarSelect[int]:
    """Found by the index of the queue."""
    in_queue = (Run.queue == QUEUES[RunKind.TRAIN], has_status(Run, status))
    return select(func.count()).where(*in_queue, Run.project_id == project_id).scalar_subquery()


def _count_uploads(project_id: str) -> ScalarSelect[int]:
    """Those whose bytes the project is sending; what the importer fetches has its dataset already."""
    sent_until = Upload.created_at + func.make_interval(0, 0, 0, 0, 0, STREAM_MINUTES)
    in_parts_until = func.coalesce(Upload.expires_at, sent_until)
    ends_at = case((Upload.multipart_id.is_(None), sent_until), else_=in_parts_until)
    query = select(func.count()).where(
        Upload.project_id == project_id,
        Upload.completed_at.is_(None),
        ends_at > func.clock_timestamp(),
        ~select(Dataset.id).where(Dataset.upload_id == Upload.id).exists(),
    )
    return query.scalar_subquery()


def _sum_bytes(project_id: str) -> ScalarSelect[int]:
    """Archives until they are imported, datasets, checkpoints, models. Logs and metrics are small beside them."""
    datasets = _sum(Dataset.size_bytes, Dataset.project_id == project_id, Dataset.deleted_at.is_(None))
    models = _sum(
        Model.weights_size_bytes + Model.card_size_bytes, Model.project_id == project_id, Model.deleted_at.is_(None)
    )
    job_is_there = select(Job.id).where(Job.id == Checkpoint.job_id, Job.deleted_at.is_(None)).exists()
    checkpoints = _sum(Checkpoint.size_bytes, Checkpoint.project_id == project_id, job_is_there)
    is_sure = or_(Upload.completed_at.is_not(None), Upload.multipart_id.is_not(None))  # or announced
    uploads = _sum(Upload.size_bytes, Upload.project_id == project_id, is_sure, _has_bytes())
    return select((datasets + models + checkpoints + uploads).cast(BigInteger)).scalar_subquery()


def _has_bytes() -> ColumnElement[bool]:
    """An upload's bytes go when its import has ended, or when it expires; after a day they are an orphan's."""
    dataset = select(Dataset.id).where(Dataset.upload_id == Upload.id)
    unfinished = dataset.join(Run, Run.id == Dataset.run_id).where(Run.status.not_in(TERMINAL))
    ends_at = func.coalesce(Upload.expires_at, Upload.created_at + func.make_interval(0, 0, 0, KEPT_DAYS))
    return or_(unfinished.exists(), ~dataset.exists() & (ends_at > func.clock_timestamp()))


def _sum(column: SQLColumnExpression[Any], *where: ColumnElement[bool]) -> ColumnElement[int]:
    """`Any`: of a column that may be NULL as of one that may not."""
    return func.coalesce(select(func.sum(column)).where(*where).scalar_subquery(), literal(0))
