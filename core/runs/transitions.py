"""Writes a run's status and its event together, under the row's lock; called from this package alone."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Interval, cast, func, select, update
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Run, RunEvent
from core.dispatch import hint_after_commit
from core.runs.leftovers import schedule_leftovers
from core.runs.types import BUDGET, CANCELLED, KILLERS, MAX_BACKOFF_SECONDS, MAX_LOSSES, FailureClass, StatusReason
from core.states import TRANSITIONS, EventType, RunStatus


def charge(session: Session, run: Run, failure: FailureClass, reason: StatusReason) -> None:
    """Ends the attempt; the run is queued again while the budget of the class lasts and it does not lose every try."""
    count = run.failures.get(failure, 0) + 1
    run.failures = run.failures | {failure: count}
    run.losses += failure in KILLERS
    if failure == FailureClass.WORKER_LOST:
        _close_lost_attempt(session, run)
    else:
        close_attempt(session, run, "failed")
    is_poison = run.losses >= MAX_LOSSES
    if run.cancel_requested_at is None and (count > BUDGET[failure] or is_poison):
        set_failed(session, run, _poison(reason) if is_poison and failure == FailureClass.WORKER_LOST else reason)
    else:
        requeue(session, run, reason.message, delay_seconds=_choose_rest(run, failure))


def set_failed(session: Session, run: Run, reason: StatusReason) -> None:
    run.status_reason = reason.model_dump()
    set_terminal(session, run, RunStatus.FAILED, EventType.FAILED, reason.message, level="error")


def set_cancelled(session: Session, run: Run, message: str) -> None:
    run.status_reason = CANCELLED.model_dump()
    set_terminal(session, run, RunStatus.CANCELLED, EventType.CANCELLED, message)


def pause(session: Session, run: Run, message: str) -> None:
    _move(run, EventType.PAUSED, RunStatus.PAUSED)
    _let_go(run)
    append_event(session, run, EventType.PAUSED, message)


def requeue(session: Session, run: Run, message: str, *, delay_seconds: float) -> None:
    """A run that was asked to stop meanwhile is cancelled or paused instead."""
    if run.cancel_requested_at is not None:
        set_cancelled(session, run, message)
    elif run.pause_requested_at is not None:
        pause(session, run, message)
    else:
        enqueue(session, run, EventType.REQUEUED, message, level="warning", delay_seconds=delay_seconds)


def enqueue(
    session: Session, run: Run, event: EventType, message: str, *, level: str = "info", delay_seconds: float = 0
) -> None:
    _move(run, event, RunStatus.QUEUED)
    _let_go(run)
    run.queued_at = now(session)
    session.flush()
    session.execute(update(Run).where(Run.id == run.id).values(run_after=in_seconds(delay_seconds)))
    append_event(session, run, event, message, level=level)
    hint_after_commit(session, run.queue)


def set_terminal(
    session: Session, run: Run, status: RunStatus, event: EventType, message: str, *, level: str = "info"
) -> None:
    _move(run, event, status)
    _let_go(run)
    run.finished_at = now(session)
    append_event(session, run, event, message, level=level)
    schedule_leftovers(session, run)


def _choose_rest(run: Run, failure: FailureClass) -> float:
    """Space has to be freed first, or a network to come back; a crash may be gone at the next try."""
    return min(2.0**run.losses, MAX_BACKOFF_SECONDS) if failure in KILLERS else MAX_BACKOFF_SECONDS


def _let_go(run: Run) -> None:
    run.worker_id = None
    run.reserved_worker_id = None
    run.lease_expires_at = None
    run.pause_requested_at = None


def _poison(reason: StatusReason) -> StatusReason:
    return StatusReason(
        code="poison",
        message=f"{MAX_LOSSES} attempts in a row crashed or lost their worker, and none left a new checkpoint",
        hint=f"it may need more memory than a worker has: try a smaller batch or picture; last: {reason.message}",
        owner="system",
    )


def _move(run: Run, event: EventType, status: RunStatus) -> None:
    if (RunStatus(run.status), event, status) not in TRANSITIONS:
        raise AssertionError(f"{run.status} does not become {status} by {event}")
    run.status = status


def close_attempt(session: Session, run: Run, outcome: str) -> None:
    _close_attempt(session, run, outcome, ended_at=func.clock_timestamp())


def _close_lost_attempt(session: Session, run: Run) -> None:
    """It ended with its lease: however late that is noticed, nothing ran since."""
    _close_attempt(session, run, "lost", ended_at=func.least(func.clock_timestamp(), run.lease_expires_at))


def _close_attempt(session: Session, run: Run, outcome: str, *, ended_at: ColumnElement[datetime]) -> None:
    session.execute(
        update(Attempt)
        .where(Attempt.run_id == run.id, Attempt.number == run.attempt)
        .values(ended_at=ended_at, outcome=outcome)
    )


def append_event(session: Session, run: Run, event: EventType, message: str, *, level: str = "info") -> None:
    """The row is locked by the caller, so the number is this event's alone."""
    run.event_seq += 1
    session.flush()
    session.add(make_event(run.id, run.event_seq, event, message, level=level))


def make_event(
    run_id: str, seq: int, event_type: str, message: str, *, level: str = "info", details: dict[str, Any] | None = None
) -> RunEvent:
    return RunEvent(run_id=run_id, seq=seq, type=event_type, level=level, message=message, details=details or {})


def in_seconds(seconds: float) -> ColumnElement[datetime]:
    """A time by the database's clock, the only one that leases know."""
    now: ColumnElement[datetime] = func.clock_timestamp()
    return now + cast(f"{seconds} seconds", Interval)


def now(session: Session) -> datetime:
    return session.scalars(select(in_seconds(0))).one()
