"""What the run engine is doing, in numbers, for those who watch it.

Everything is counted when asked: 100,000 ended runs take some 70 ms, and no index that every claim would have to keep.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Float, SQLColumnExpression, and_, extract, func, select, type_coerce
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Deletion, Installation, Run, Worker
from core.runs.eligibility import is_claimable
from core.states import TERMINAL, RunStatus
from core.workers import ONLINE_SECONDS

SILENT_SECONDS = 3600  # after which a worker that was killed is no longer shown


class Waiting(NamedTuple):
    """Queued runs of one queue that a worker could claim now, or that have to wait for something else."""

    queue: str
    is_claimable: bool
    runs: int
    longest_wait_seconds: float
    hint_age_seconds: float  # since the last hint for any run of the queue


class WorkerState(NamedTuple):
    worker_id: str
    queue: str
    gpus: int
    beat_seconds_ago: float
    storage_errors: int

    @property
    def is_online(self) -> bool:
        return self.beat_seconds_ago < ONLINE_SECONDS


class Sweep(NamedTuple):
    """The newest one, whoever led it."""

    seconds_ago: float
    seconds: float


class Deletions(NamedTuple):
    """Prefixes that have still to leave the store."""

    pending: int
    oldest_seconds: float


class EngineState(NamedTuple):
    """Counts are of all that is in the database, and so only grow: rows of runs are never deleted."""

    waiting: list[Waiting]
    running: dict[str, int]  # by kind
    ended: dict[tuple[str, str], int]  # by kind and status
    failures: dict[tuple[str, str], int]  # by kind and the code of the reason
    attempts: dict[str, int]  # by outcome
    workers: list[WorkerState]
    sweep: Sweep | None  # None before the first
    deletions: Deletions
    orphans_collected_seconds_ago: float | None  # since the first start, until they are collected once


def read_engine_state(session: Session) -> EngineState:
    by_status = _count_by_status(session)
    last_collected_at = func.coalesce(Installation.orphans_collected_at, Installation.created_at)
    return EngineState(
        waiting=_read_waiting(session),
        running={kind: count for (kind, status), count in by_status.items() if status == RunStatus.RUNNING},
        ended={key: count for key, count in by_status.items() if key[1] in TERMINAL},
        failures=_count_failures(session),
        attempts=_count_attempts(session),
        workers=_read_workers(session),
        sweep=_read_sweep(session),
        deletions=_read_deletions(session),
        orphans_collected_seconds_ago=session.scalar(select(_seconds_since(last_collected_at))),
    )


def _count_by_status(session: Session) -> dict[tuple[str, str], int]:
    query = select(Run.kind, Run.status, func.count()).group_by(Run.kind, Run.status)
    return {(kind, status): count for kind, status, count in session.execute(query)}


def _count_failures(session: Session) -> dict[tuple[str, str], int]:
    code = func.coalesce(Run.status_reason["code"].astext, "unknown")
    query = select(Run.kind, code, func.count()).where(Run.status == RunStatus.FAILED).group_by(Run.kind, code)
    return {(kind, reason): count for kind, reason, count in session.execute(query)}


def _count_attempts(session: Session) -> dict[str, int]:
    query = select(Attempt.outcome, func.count()).where(Attempt.outcome.is_not(None)).group_by(Attempt.outcome)
    return {outcome or "": count for outcome, count in session.execute(query)}


def _read_waiting(session: Session) -> list[Waiting]:
    claimable = and_(*is_claimable()).label("claimable")
    last_hint = func.min(func.min(_seconds_since(Run.hinted_at))).over(partition_by=Run.queue)
    rows = session.execute(
        select(
            Run.queue,
            claimable,
            func.count(),
            func.max(_seconds_since(Run.queued_at)),
            last_hint,
        )
        .where(Run.status == RunStatus.QUEUED)
        .group_by(Run.queue, claimable)
    )
    return [Waiting(*row) for row in rows]


def _read_workers(session: Session) -> list[WorkerState]:
    age = _seconds_since(Worker.heartbeat_at)
    query = select(Worker.id, Worker.queue, Worker.gpus, age, Worker.storage_errors)
    rows = session.execute(query.where(Worker.left_at.is_(None), age < SILENT_SECONDS).order_by(Worker.id))
    return [WorkerState(*row) for row in rows]


def _read_sweep(session: Session) -> Sweep | None:
    newest = select(_seconds_since(Worker.swept_at), func.coalesce(Worker.sweep_seconds, 0.0))
    row = session.execute(newest.where(Worker.swept_at.is_not(None)).order_by(Worker.swept_at.desc()).limit(1)).first()
    return None if row is None else Sweep(*row)


def _read_deletions(session: Session) -> Deletions:
    oldest = func.coalesce(func.max(_seconds_since(Deletion.created_at)), 0.0)
    return Deletions(*session.execute(select(func.count(), oldest).select_from(Deletion)).one())


def _seconds_since(time: SQLColumnExpression[datetime] | SQLColumnExpression[datetime | None]) -> ColumnElement[float]:
    return type_coerce(extract("epoch", func.clock_timestamp() - time), Float)
