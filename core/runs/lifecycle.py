"""What a user does with a run: submit it, cancel it, look at it."""

from typing import Literal

from sqlalchemy import ColumnElement, and_, not_, select
from sqlalchemy.orm import Session

from core.db.tables import Run, RunEvent
from core.dispatch import hint_after_commit
from core.errors import ConflictError
from core.ids import make_id
from core.runs.transitions import append_event, enqueue, make_event, now, pause, set_cancelled
from core.runs.types import PRIORITIES, QUEUES, RunKind
from core.states import TERMINAL, EventType, RunStatus

ShownStatus = Literal["queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled"]


def submit(
    session: Session,
    *,
    project_id: str,
    kind: RunKind,
    waits_for_run_id: str | None = None,
    gpus: int | None = 0,
    max_runtime_seconds: int | None = None,
    max_queue_seconds: int | None = None,
) -> Run:
    """`gpus`: None takes one where there is one, and the CPU else."""
    run = Run(
        id=make_id("run"),
        project_id=project_id,
        kind=kind,
        queue=QUEUES[kind],
        priority=PRIORITIES[kind],
        status=RunStatus.QUEUED,
        event_seq=1,
        waits_for_run_id=waits_for_run_id,
        gpus=gpus,
        losses=0,
        max_runtime_seconds=max_runtime_seconds,
        max_queue_seconds=max_queue_seconds,
    )
    session.add(run)
    session.flush()
    session.add(make_event(run.id, 1, EventType.QUEUED, "waits for a worker"))
    hint_after_commit(session, run.queue)
    return run


def request_cancel(session: Session, run_id: str) -> None:
    """A queued run is cancelled at once; a running one is flagged, and its worker stops within seconds."""
    run = session.get_one(Run, run_id, with_for_update=True)
    match RunStatus(run.status):
        case RunStatus.QUEUED | RunStatus.PAUSED:
            set_cancelled(session, run, "cancelled before it ran")
        case RunStatus.RUNNING:
            if run.cancel_requested_at is None:
                run.cancel_requested_at = now(session)
                append_event(session, run, EventType.CANCEL_REQUESTED, "the worker was asked to stop")
        case status:
            raise ConflictError(
                "already_finished", f"it is {status} already", hint="only unfinished work can be cancelled"
            )


def request_pause(session: Session, run_id: str) -> None:
    """A queued run is paused at once; a running one is flagged, and its worker leaves a checkpoint within seconds."""
    run = session.get_one(Run, run_id, with_for_update=True)
    match RunStatus(run.status):
        case RunStatus.QUEUED:
            pause(session, run, "paused before it ran")
        case RunStatus.RUNNING if run.cancel_requested_at is not None:
            raise ConflictError("already_cancelled", "it is being cancelled", hint="a cancelled job cannot be resumed")
        case RunStatus.RUNNING:
            if run.pause_requested_at is None:
                run.pause_requested_at = now(session)
                append_event(session, run, EventType.PAUSE_REQUESTED, "the worker was asked to leave a checkpoint")
        case RunStatus.PAUSED:
            return
        case status:
            raise ConflictError("already_finished", f"it is {status} already", hint="only unfinished work can pause")


def resume(session: Session, run_id: str) -> None:
    run = session.get_one(Run, run_id, with_for_update=True)
    if run.status != RunStatus.PAUSED:
        raise ConflictError("not_paused", f"it is {shown_status(run)}", hint="only a paused job can be resumed")
    enqueue(session, run, EventType.QUEUED, "resumed: waits for a worker")


def shown_status(run: Run) -> str:
    """The status as the API says it: a running run that was asked to stop is `cancelling` or `pausing`."""
    if run.status == RunStatus.RUNNING and run.cancel_requested_at is not None:
        return "cancelling"
    if run.status == RunStatus.RUNNING and run.pause_requested_at is not None:
        return "pausing"
    return run.status


def has_shown_status(status: ShownStatus) -> ColumnElement[bool]:
    """The same as a condition."""
    running, cancelling = Run.status == RunStatus.RUNNING, Run.cancel_requested_at.is_not(None)
    pausing = Run.pause_requested_at.is_not(None)
    match status:
        case "cancelling":
            return and_(running, cancelling)
        case "pausing":
            return and_(running, pausing, not_(cancelling))
        case "running":
            return and_(running, not_(pausing), not_(cancelling))
        case other:
            return Run.status == other


def is_terminal(run: Run) -> bool:
    return run.status in TERMINAL


def is_over(session: Session, run_id: str) -> bool:
    return is_terminal(session.get_one(Run, run_id))


def list_events(session: Session, run_id: str, *, after: int, limit: int) -> list[RunEvent]:
    query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.seq > after).order_by(RunEvent.seq).limit(limit)
    return list(session.scalars(query))
