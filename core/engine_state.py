"""What the run engine is doing, in numbers, for those who watch it."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Float, SQLColumnExpression, extract, func, select, type_coerce
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Deletion, Run, Worker
from core.runs.eligibility import is_claimable
from core.states import RunStatus


class Waiting(NamedTuple):
    """The queued runs of one queue; times in seconds."""

    queue: str
    runs: int
    claimable: int
    longest_wait: float
    oldest_hint: float  # of the claimable ones; 0 when there is none


class WorkerBeat(NamedTuple):
    worker_id: str
    queue: str
    gpus: int
    seconds_ago: float


class EngineState(NamedTuple):
    """Counts are of all that is in the database, and so only grow where rows are never deleted."""

    waiting: list[Waiting]
    running: dict[str, int]  # by kind
    ended: dict[tuple[str, str], int]  # by kind and status
    failures: dict[tuple[str, str], int]  # by kind and the code of the reason
    attempts: dict[str, int]  # by outcome
    workers: list[WorkerBeat]
    pending_deletions: int


def read_engine_state(session: Session) -> EngineState:
    of_kind = select(Run.kind, Run.status, func.count()).group_by(Run.kind, Run.status)
    counts = {(kind, status): count for kind, status, count in session.execute(of_kind)}
    code = Run.status_reason["code"].astext
    of_code = select(Run.kind, code, func.count()).where(Run.status == RunStatus.FAILED).group_by(Run.kind, code)
    of_outcome = select(Attempt.outcome, func.count()).where(Attempt.outcome.is_not(None)).group_by(Attempt.outcome)
    return EngineState(
        waiting=_read_waiting(session),
        running={kind: count for (kind, status), count in counts.items() if status == RunStatus.RUNNING},
        ended={
            (kind, status): count
            for (kind, status), count in counts.items()
            if status in {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED}
        },
        failures={(kind, reason or "unknown"): count for kind, reason, count in session.execute(of_code)},
        attempts={outcome or "": count for outcome, count in session.execute(of_outcome)},
        workers=_read_beats(session),
        pending_deletions=session.scalar(select(func.count()).select_from(Deletion)) or 0,
    )


def _read_waiting(session: Session) -> list[Waiting]:
    claimable = is_claimable()
    rows = session.execute(
        select(
            Run.queue,
            func.count(),
            func.count().filter(*claimable),
            func.max(_seconds_since(Run.queued_at)),
            func.coalesce(func.max(_seconds_since(Run.hinted_at)).filter(*claimable), 0),
        )
        .where(Run.status == RunStatus.QUEUED)
        .group_by(Run.queue)
    )
    return [
        Waiting(queue, runs, ready, longest_wait=float(wait), oldest_hint=float(hint))
        for queue, runs, ready, wait, hint in rows
    ]


def _read_beats(session: Session) -> list[WorkerBeat]:
    query = select(Worker.id, Worker.queue, Worker.gpus, _seconds_since(Worker.heartbeat_at))
    rows = session.execute(query.where(Worker.left_at.is_(None)))
    return [WorkerBeat(worker_id, queue, gpus, float(seconds)) for worker_id, queue, gpus, seconds in rows]


def _seconds_since(time: SQLColumnExpression[datetime]) -> ColumnElement[float]:
    return type_coerce(extract("epoch", func.clock_timestamp() - time), Float)
