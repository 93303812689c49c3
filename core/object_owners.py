"""Whose an object of the store is, and whether a row needs it (design: in the object store)."""

from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePosixPath
from typing import NamedTuple, assert_never

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Checkpoint, Dataset, Job, Model, Run, Upload
from core.runs.types import RunKind
from core.states import TERMINAL, RunStatus
from core.storage import ListedObject

CLOCKS_APART = timedelta(minutes=10)  # at most, those of the store and the database


class OwnerKind(StrEnum):
    UPLOAD = "upload"
    DATASET = "dataset"
    CHECKPOINT = "checkpoint"
    METRICS = "metrics"
    LOG = "log"
    JOB = "job"  # what no rule covers below a job
    MODEL = "model"
    DOCTOR = "doctor"


class Owner(NamedTuple):
    """Whose objects stand below `prefix`."""

    kind: OwnerKind
    prefix: str
    id: str = ""
    attempt: int = 0
    step: int = 0


def find_owner(key: str) -> Owner | None:
    """None for what no rule covers, which stays."""
    match key.split("/"):
        case ["uploads", id_, _, *_]:
            return Owner(OwnerKind.UPLOAD, f"uploads/{id_}/", id_)
        case ["models", id_, _, *_]:
            return Owner(OwnerKind.MODEL, f"models/{id_}/", id_)
        case ["datasets", id_, attempt, _, *_] if attempt.isdecimal():
            return Owner(OwnerKind.DATASET, f"datasets/{id_}/{attempt}/", id_, int(attempt))
        case ["jobs", id_, *rest]:
            return _find_owner_in_job(id_, rest)
        case ["doctor", *_]:
            return Owner(OwnerKind.DOCTOR, "doctor/")
        case _:
            return None


def _find_owner_in_job(job_id: str, rest: list[str]) -> Owner:
    prefix = f"jobs/{job_id}/"
    match rest:
        case [attempt, "checkpoints", step, _, *_] if attempt.isdecimal() and step.isdecimal():
            prefix += f"{attempt}/checkpoints/{step}/"
            return Owner(OwnerKind.CHECKPOINT, prefix, job_id, int(attempt), int(step))
        case [attempt, "metrics", _] if attempt.isdecimal():
            return Owner(OwnerKind.METRICS, f"{prefix}{attempt}/metrics/", job_id, int(attempt))
        case [attempt, "log", _] if attempt.isdecimal():
            return Owner(OwnerKind.LOG, f"{prefix}{attempt}/log/", job_id, int(attempt))
        case _:
            return Owner(OwnerKind.JOB, prefix, job_id)


def list_unneeded(session: Session, owner: Owner, objects: list[ListedObject]) -> list[ListedObject]:
    """Those that no row needs and no running attempt may have written."""
    if is_being_written(session, owner, max(item.modified_at for item in objects)):
        return []
    match owner.kind:
        case OwnerKind.DOCTOR:
            return objects
        case OwnerKind.UPLOAD:
            return [] if _is_upload_needed(session, owner) else objects
        case OwnerKind.DATASET:
            return [] if _is_dataset_kept(session, owner) else objects
        case OwnerKind.MODEL:
            return [] if _is_model_kept(session, owner) else objects
        case OwnerKind.CHECKPOINT | OwnerKind.METRICS | OwnerKind.LOG | OwnerKind.JOB:
            return _list_unneeded_of_job(session, owner, objects)
        case _:
            assert_never(owner.kind)


def is_being_written(session: Session, owner: Owner, at: datetime) -> bool:
    """Whether a running attempt, or a client, may have written there at that time: it stays, whatever its age."""
    if owner.kind is OwnerKind.UPLOAD and _is_upload_open(session, owner):
        return True
    running = select(Run.id).where(Run.status == RunStatus.RUNNING)
    match owner.kind:
        case OwnerKind.DOCTOR:
            return False
        case OwnerKind.UPLOAD:
            query = running.join(Dataset, Dataset.run_id == Run.id).where(Dataset.upload_id == owner.id)
        case OwnerKind.DATASET:
            query = running.join(Dataset, Dataset.run_id == Run.id)
            query = query.where(Dataset.id == owner.id, Run.attempt == owner.attempt)
        case OwnerKind.CHECKPOINT | OwnerKind.METRICS | OwnerKind.LOG | OwnerKind.JOB:
            query = running.join(Job, Job.run_id == Run.id).where(Job.id == owner.id, Run.attempt == owner.attempt)
        case OwnerKind.MODEL:  # its key does not say which attempt wrote it
            attempt = and_(Attempt.run_id == Run.id, Attempt.number == Run.attempt)
            query = running.join(Attempt, attempt)
            query = query.where(Run.kind == RunKind.TRAIN, Attempt.started_at <= at + CLOCKS_APART)
        case _:
            assert_never(owner.kind)
    return session.scalar(query.limit(1)) is not None


def _is_upload_needed(session: Session, owner: Owner) -> bool:
    """Until its import has ended for good."""
    query = select(Dataset.id).join(Run, Run.id == Dataset.run_id)
    return session.scalar(query.where(Dataset.upload_id == owner.id, Run.status.not_in(TERMINAL))) is not None


def _is_upload_open(session: Session, owner: Owner) -> bool:
    """Its client may still send parts, or make a dataset of it."""
    query = select(Upload.id).where(Upload.id == owner.id, Upload.expires_at > func.clock_timestamp())
    return session.scalar(query) is not None


def _is_dataset_kept(session: Session, owner: Owner) -> bool:
    dataset = session.get(Dataset, owner.id)
    return dataset is not None and dataset.deleted_at is None and dataset.attempt == owner.attempt


def _is_model_kept(session: Session, owner: Owner) -> bool:
    model = session.get(Model, owner.id)
    return model is not None and model.deleted_at is None


def _list_unneeded_of_job(session: Session, owner: Owner, objects: list[ListedObject]) -> list[ListedObject]:
    job = session.get(Job, owner.id)
    if job is None or job.deleted_at is not None:
        return objects
    match owner.kind:
        case OwnerKind.CHECKPOINT:
            return [] if _has_checkpoint(session, owner) else objects
        case OwnerKind.METRICS | OwnerKind.LOG:
            counted = _count_segments(session, job, owner)
            return [item for item in objects if _read_number(item.key) > counted]
        case _:
            return []


def _has_checkpoint(session: Session, owner: Owner) -> bool:
    same = (Checkpoint.job_id == owner.id, Checkpoint.attempt == owner.attempt, Checkpoint.step == owner.step)
    return session.scalar(select(Checkpoint.id).where(*same)) is not None


def _count_segments(session: Session, job: Job, owner: Owner) -> int:
    attempt = session.get(Attempt, (job.run_id, owner.attempt))
    if attempt is None:
        return 0
    return attempt.metric_segments if owner.kind is OwnerKind.METRICS else attempt.log_segments


def _read_number(key: str) -> int:
    """0, which is always kept, for a name that is no segment's."""
    stem = PurePosixPath(key).stem
    return int(stem) if stem.isdecimal() else 0
