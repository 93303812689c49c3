"""What a worker does with a run: claim, beat, write, end. Every write is fenced by the attempt."""

from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Run
from core.runs.eligibility import Best, find_best, has_status
from core.runs.transitions import (
    charge,
    close_attempt,
    in_seconds,
    make_event,
    pause,
    requeue,
    set_cancelled,
    set_terminal,
)
from core.runs.types import NO_GPUS, Claim, FailureClass, GpuOffer, LostClaimError, RunKind, Signal, StatusReason
from core.states import EventType, RunStatus

CLAIM_LOCK = 0x636C6D  # "clm": the class of advisory locks by project


def claim(
    session: Session,
    *,
    queue: str,
    worker_id: str,
    lease_seconds: float,
    gpus: GpuOffer = NO_GPUS,
    max_running: int | None = None,
) -> Claim | None:
    """Takes the best eligible run: highest priority, then the project with fewest running, then the oldest.

    Runs that want more GPUs than are free are passed over, but for the one that this worker is reserved for; so are
    those of projects that run `max_running` already, or as many as their own quota says.
    """
    best = find_best(session, queue=queue, worker_id=worker_id, gpus=gpus, max_running=max_running)
    while best is not None and not _may_start(session, queue, best):
        best = find_best(session, queue=queue, worker_id=worker_id, gpus=gpus, max_running=max_running)
    if best is None:
        return None
    run_id = best.run_id
    run = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.status == RunStatus.QUEUED)
        .values(
            status=RunStatus.RUNNING,
            attempt=Run.attempt + 1,
            worker_id=worker_id,
            reserved_worker_id=None,
            lease_expires_at=in_seconds(lease_seconds),
            started_at=func.coalesce(Run.started_at, func.clock_timestamp()),
            event_seq=Run.event_seq + 1,
            progress=None,
        )
        .returning(Run.project_id, Run.kind, Run.attempt, Run.event_seq, Run.gpus)
    ).one()
    session.add(Attempt(run_id=run_id, number=run.attempt, worker_id=worker_id))
    session.add(make_event(run_id, run.event_seq, EventType.STARTED, f"attempt {run.attempt} started on {worker_id}"))
    taken = gpus.default if run.gpus is None else run.gpus
    return Claim(run_id, run.project_id, RunKind(run.kind), run.attempt, gpus=taken)


def _may_start(session: Session, queue: str, best: Best) -> bool:
    """Counts again while no other worker can start a run of the project: all have seen the same room for one."""
    if best.max_running is None:
        return True
    with session.begin_nested() as counting:
        session.execute(select(func.pg_advisory_xact_lock(CLAIM_LOCK, func.hashtext(best.project_id))))
        running = (has_status(Run, RunStatus.RUNNING), Run.queue == queue, Run.project_id == best.project_id)
        has_room = (session.scalar(select(func.count()).where(*running)) or 0) < best.max_running
        if not has_room:
            counting.rollback()  # gives the lock back: two workers that hold one each must not wait for each other
    return has_room


def beat(session: Session, held: Claim, *, lease_seconds: float, progress: BaseModel | None = None) -> Signal:
    """Renews the lease, stores the progress, and looks for what was asked of the run meanwhile."""
    values: dict[str, Any] = {"lease_expires_at": in_seconds(lease_seconds)}  # columns have many types
    if progress is not None:
        values["progress"] = progress.model_dump(mode="json", exclude={"type"})
    row = session.execute(
        update(Run)
        .where(*_held_by(held))
        .values(**values)
        .returning(Run.cancel_requested_at, Run.pause_requested_at, _is_out_of_time().label("late"))
    ).one_or_none()
    if row is None:
        raise LostClaimError
    if row.cancel_requested_at:
        return Signal.CANCEL
    if row.late:
        return Signal.OUT_OF_TIME
    if row.pause_requested_at:
        return Signal.PAUSE
    return Signal.GO_ON


def guard(session: Session, held: Claim) -> None:
    """Locks the run's row for this transaction; raises when the claim is lost. Precedes every write of a worker."""
    if session.scalar(select(Run.id).where(*_held_by(held)).with_for_update()) is None:
        raise LostClaimError


def note(
    session: Session,
    held: Claim,
    event_type: str,
    message: str,
    level: str = "info",
    details: dict[str, Any] | None = None,
) -> None:
    """Adds an event that changes no status; `details` holds JSON values whose shape depends on the type."""
    seq = session.scalar(
        update(Run).where(*_held_by(held)).values(event_seq=Run.event_seq + 1).returning(Run.event_seq)
    )
    if seq is None:
        raise LostClaimError
    session.add(make_event(held.run_id, seq, event_type, message, level=level, details=details))


def succeed(session: Session, held: Claim) -> None:
    run = _lock_held(session, held)
    close_attempt(session, run, EventType.SUCCEEDED)
    set_terminal(session, run, RunStatus.SUCCEEDED, EventType.SUCCEEDED, "finished")


def stop_cancelled(session: Session, held: Claim) -> None:
    run = _lock_held(session, held)
    close_attempt(session, run, EventType.CANCELLED)
    set_cancelled(session, run, "stopped as asked")


def stop_paused(session: Session, held: Claim) -> None:
    """Cancels it instead when that was asked for while the pause was under way."""
    run = _lock_held(session, held)
    if run.cancel_requested_at is not None:
        stop_cancelled(session, held)
        return
    close_attempt(session, run, EventType.PAUSED)
    pause(session, run, "paused as asked")


def hand_back(session: Session, held: Claim, message: str, *, delay_seconds: float = 0) -> None:
    """Returns the run to its queue without charge: the worker shuts down, or a server stayed away."""
    run = _lock_held(session, held)
    close_attempt(session, run, EventType.REQUEUED)
    requeue(session, run, message, delay_seconds=delay_seconds)


def forgive_losses(session: Session, held: Claim) -> None:
    """There is a new checkpoint: whatever was lost before, the run gets on."""
    session.execute(update(Run).where(*_held_by(held)).values(losses=0))


def fail(session: Session, held: Claim, failure: FailureClass, reason: StatusReason) -> None:
    """Charges the failure to its budget: queued again while some is left, failed when it is spent."""
    charge(session, _lock_held(session, held), failure, reason)


def _is_out_of_time() -> ColumnElement[bool]:
    """Only the time that its attempts took counts, not what it waited or was paused."""
    ended_at = func.coalesce(Attempt.ended_at, func.clock_timestamp())
    taken = select(func.sum(ended_at - Attempt.started_at)).where(Attempt.run_id == Run.id).scalar_subquery()
    return taken > func.make_interval(0, 0, 0, 0, 0, 0, Run.max_runtime_seconds)


def _held_by(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return (Run.id == held.run_id, Run.status == RunStatus.RUNNING, Run.attempt == held.attempt)


def _lock_held(session: Session, held: Claim) -> Run:
    run = session.get_one(Run, held.run_id, with_for_update=True)
    if run.status != RunStatus.RUNNING or run.attempt != held.attempt:
        raise LostClaimError
    return run
