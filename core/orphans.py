"""Finds what the store holds and no row knows: what killed attempts left behind."""

from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Checkpoint, Dataset, Job, Model, Run, Upload
from core.states import RunStatus
from core.storage import ListedObject, Storage

MIN_AGE_HOURS = 24.0  # whoever wrote it may still be about to write its row


class Orphan(NamedTuple):
    """All objects below one prefix."""

    prefix: str
    objects: int
    size_bytes: int


class _Owner(NamedTuple):
    """Whose objects stand below a prefix."""

    prefix: str
    kind: str
    id: str
    attempt: int = 0
    step: int = 0


def find_orphans(
    storage: Storage, sessions: SessionFactory, *, min_age_hours: float = MIN_AGE_HOURS
) -> Iterator[Orphan]:
    """No session is open while the store lists. What is younger than `min_age_hours` is never named."""
    with sessions() as session:
        limit = session.scalars(
            select(func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, min_age_hours * 3600))
        ).one()
    for root in ("uploads/", "datasets/", "jobs/", "models/"):
        for owner, found in groupby(storage.list_objects(root), key=lambda item: _find_owner(item.key)):
            objects = list(found)
            if owner is not None and _is_old(objects, limit) and not _ask(sessions, owner):
                yield Orphan(owner.prefix, len(objects), sum(item.size_bytes for item in objects))


def _is_old(objects: list[ListedObject], limit: datetime) -> bool:
    return all(item.modified_at < limit for item in objects)


def _find_owner(key: str) -> _Owner | None:
    """None for what no rule covers, which stays."""
    match key.split("/"):
        case ["uploads" as kind, owner_id, *_]:
            return _Owner(f"{kind}/{owner_id}/", kind, owner_id)
        case ["models" as kind, owner_id, *_]:
            return _Owner(f"{kind}/{owner_id}/", kind, owner_id)
        case ["datasets" as kind, owner_id, attempt, *_] if attempt.isdecimal():
            return _Owner(f"{kind}/{owner_id}/{attempt}/", kind, owner_id, int(attempt))
        case ["jobs", owner_id, attempt, "checkpoints", step, *_] if attempt.isdecimal() and step.isdecimal():
            prefix = f"jobs/{owner_id}/{attempt}/checkpoints/{step}/"
            return _Owner(prefix, "checkpoints", owner_id, int(attempt), int(step))
        case ["jobs" as kind, owner_id, *_]:
            return _Owner(f"{kind}/{owner_id}/", kind, owner_id)
        case _:
            return None


def _ask(sessions: SessionFactory, owner: _Owner) -> bool:
    with sessions() as session:
        return _KNOWN[owner.kind](session, owner)


def _knows_upload(session: Session, owner: _Owner) -> bool:
    return session.get(Upload, owner.id) is not None


def _knows_model(session: Session, owner: _Owner) -> bool:
    return session.get(Model, owner.id) is not None


def _knows_job(session: Session, owner: _Owner) -> bool:
    return session.get(Job, owner.id) is not None


def _knows_dataset(session: Session, owner: _Owner) -> bool:
    dataset = session.get(Dataset, owner.id)
    if dataset is None:
        return False
    return dataset.attempt == owner.attempt or _is_running(session, dataset.run_id, owner.attempt)


def _knows_checkpoint(session: Session, owner: _Owner) -> bool:
    job = session.get(Job, owner.id)
    if job is None:
        return False
    kept = select(Checkpoint.id).where(
        Checkpoint.job_id == owner.id, Checkpoint.attempt == owner.attempt, Checkpoint.step == owner.step
    )
    return session.scalar(kept) is not None or _is_running(session, job.run_id, owner.attempt)


def _is_running(session: Session, run_id: str, attempt: int) -> bool:
    run = session.get_one(Run, run_id)
    return run.status == RunStatus.RUNNING and run.attempt == attempt


_KNOWN: dict[str, Callable[[Session, _Owner], bool]] = {
    "uploads": _knows_upload,
    "models": _knows_model,
    "jobs": _knows_job,
    "datasets": _knows_dataset,
    "checkpoints": _knows_checkpoint,
}
