"""What the sweeper does to runs whose worker, hint or hope is gone."""

from datetime import datetime

from sqlalchemy import ColumnElement, Select, and_, case, false, func, or_, select, true, update
from sqlalchemy.orm import Session, aliased

from core.db.tables import Run
from core.dispatch import hint_after_commit
from core.runs.eligibility import find_awaited_status, has_status, is_claimable
from core.runs.transitions import charge, in_seconds, set_failed
from core.runs.types import QUEUES, FailureClass, StatusReason
from core.states import RunStatus
from core.workers import list_online

NEVER_COMES = (RunStatus.FAILED, RunStatus.CANCELLED)
_WAITED_TOO_LONG = StatusReason(
    code="queued_too_long",
    message="it did not start within its `max_queue_seconds`",
    hint="start more workers, or raise `max_queue_seconds`: the import of its dataset counts too",
    owner="system",
    retryable=True,
)


def lose_expired(session: Session, *, as_of: datetime | None = None) -> int:
    """Charges every run whose lease had expired at `as_of`, a time of the database, else now; the number of them."""
    late = and_(has_status(Run, RunStatus.RUNNING), Run.lease_expires_at < (as_of or func.clock_timestamp()))
    runs = list(
        session.scalars(
            select(Run)
            .where(late)
            .limit(100)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
    )
    for run in runs:
        charge(session, run, FailureClass.WORKER_LOST, _worker_lost(run))
    return len(runs)


def fail_hopeless(session: Session) -> int:
    """Fails queued runs that can never start: what they wait for has failed, or they waited too long."""
    awaited_is_gone = find_awaited_status(Run).in_(NEVER_COMES)
    waited_too_long = (
        Run.queued_at + func.make_interval(0, 0, 0, 0, 0, 0, Run.max_queue_seconds) < func.clock_timestamp()
    )
    query = select(Run).where(has_status(Run, RunStatus.QUEUED), or_(awaited_is_gone, waited_too_long)).limit(100)
    runs = list(session.scalars(query.with_for_update(skip_locked=True).execution_options(populate_existing=True)))
    for run in runs:
        _fail_queued(session, run)
    return len(runs)


def hint_again(session: Session, *, older_than_seconds: float) -> None:
    """Hints for every queue in which something claimable waits and whose last hint is so old: the outbox of hints."""
    for queue in sorted(set(QUEUES.values())):
        if _stamp_overdue(session, queue, older_than_seconds):
            hint_after_commit(session, queue)


def reserve_workers(session: Session, *, after_seconds: float) -> None:
    """Gives each run of several GPUs that smaller ones have passed for too long a worker that drains for it."""
    workers = list_online(session)
    waiting = select(Run).where(*is_claimable(), Run.gpus > 1, _could_start_at() < in_seconds(-after_seconds))
    runs = list(session.scalars(waiting.order_by(Run.priority.desc(), Run.id)))
    taken = {run.reserved_worker_id for run in runs}
    for run in runs:
        fitting = [worker for worker in workers if worker.queue == run.queue and worker.gpus >= (run.gpus or 0)]
        if run.reserved_worker_id in {worker.id for worker in fitting}:
            continue
        free = [worker for worker in fitting if worker.id not in taken]
        chosen = min(free, key=lambda worker: (worker.gpus, worker.id)).id if free else None
        _reserve(session, run.id, chosen)
        taken.add(chosen)


def database_is_young(session: Session, *, seconds: float) -> bool:
    """Whether the database started less than `seconds` ago: beats of that time could not be written."""
    return bool(session.scalar(select(func.pg_postmaster_start_time() > in_seconds(-seconds))))


def _fail_queued(session: Session, run: Run) -> None:
    awaited = session.get(Run, run.waits_for_run_id) if run.waits_for_run_id else None
    reason = _WAITED_TOO_LONG if awaited is None or awaited.status not in NEVER_COMES else _awaited_failed(awaited)
    set_failed(session, run, reason)


def _stamp_overdue(session: Session, queue: str, seconds: float) -> bool:
    """One row bears the stamp of its queue."""
    overdue = session.scalar(_select_overdue(queue, seconds))
    if overdue is None:
        return False
    session.execute(update(Run).where(Run.id == overdue).values(hinted_at=func.clock_timestamp()))
    return True


def _select_overdue(queue: str, seconds: float) -> Select[str]:
    """A claimable run of the queue, unless there was a hint for any of its queued runs in so many seconds.

    The lowest in priority, since claims pass over what is locked here; found by index, as in `eligibility`.
    """
    queued = aliased(Run)
    newest = select(func.max(queued.hinted_at)).where(queued.queue == queue, has_status(queued, RunStatus.QUEUED))
    is_overdue = and_(newest.scalar_subquery() < in_seconds(-seconds), *is_claimable())
    in_queue = (Run.queue == queue, has_status(Run, RunStatus.QUEUED))
    query = select(Run.id).where(*in_queue, case((is_overdue, true()), else_=false()))
    return query.order_by(Run.priority, Run.project_id, Run.id).limit(1).with_for_update(skip_locked=True)


def _could_start_at() -> ColumnElement[datetime]:
    """Since when nothing but GPUs is missing: what it waits for was there, and it was queued."""
    awaited = aliased(Run)
    ready_at = select(awaited.finished_at).where(awaited.id == Run.waits_for_run_id).scalar_subquery()
    return func.greatest(Run.queued_at, ready_at)


def _reserve(session: Session, run_id: str, worker_id: str | None) -> None:
    """Unless the run was claimed or cancelled meanwhile."""
    still_queued = (Run.id == run_id, has_status(Run, RunStatus.QUEUED))
    session.execute(update(Run).where(*still_queued).values(reserved_worker_id=worker_id))


def _worker_lost(run: Run) -> StatusReason:
    return StatusReason(
        code="worker_lost",
        message=f"the worker of attempt {run.attempt} stopped answering",
        hint="look into the worker's log: it was killed, lost its network, or ran out of memory",
        owner="system",
        retryable=True,
    )


def _awaited_failed(awaited: Run) -> StatusReason:
    cause = awaited.status_reason or {"message": f"it was {awaited.status}", "hint": ""}
    return StatusReason(
        code="dataset_failed",
        message=f"the dataset could not be imported: {cause['message']}",
        hint=cause["hint"] or "mend the archive, import it again, and post the job with the new dataset",
        owner="data",
    )
