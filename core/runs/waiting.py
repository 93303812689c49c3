"""What a queued run waits for, in words for its owner."""

from typing import NamedTuple

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from core.db.tables import Run, Worker
from core.runs.transitions import now
from core.states import RunStatus
from core.workers import list_online


class Wait(NamedTuple):
    """Its place among the queued runs of its queue, from 1, and what has to happen before it starts."""

    position: int
    reason: str


def explain_wait(session: Session, run: Run) -> Wait | None:
    """None for a run that is not queued."""
    if run.status != RunStatus.QUEUED:
        return None
    return Wait(position=_count_earlier(session, run) + 1, reason=_find_reason(session, run))


def _count_earlier(session: Session, run: Run) -> int:
    """Fairness between projects may still let a later one go first."""
    goes_first = or_(Run.priority > run.priority, and_(Run.priority == run.priority, Run.id < run.id))
    query = select(func.count()).where(Run.queue == run.queue, Run.status == RunStatus.QUEUED, goes_first)
    return session.scalar(query) or 0


def _find_reason(session: Session, run: Run) -> str:
    if run.waits_for_run_id is not None and not _is_done(session, run.waits_for_run_id):
        return "the dataset is being imported"
    online = [worker for worker in list_online(session) if worker.queue == run.queue]
    if not online:
        return "no worker is online"
    fitting = [worker for worker in online if worker.gpus >= (run.gpus or 0)]
    if not fitting:
        return f"no worker with {run.gpus} GPUs is online"
    if run.reserved_worker_id is not None:
        return f"a worker takes no other job until it has {run.gpus} free GPUs"
    rest = (run.run_after - now(session)).total_seconds()
    if rest > 0:
        return f"the last attempt failed: the next one starts in {rest:.0f} s at the earliest"
    return _describe_busy(run, fitting)


def _describe_busy(run: Run, fitting: list[Worker]) -> str:
    if run.gpus:
        return f"waits for {run.gpus} free GPUs on one worker ({len(fitting)} online)"
    return f"waits for a free worker ({len(fitting)} online)"


def _is_done(session: Session, run_id: str) -> bool:
    return session.scalar(select(Run.status).where(Run.id == run_id)) == RunStatus.SUCCEEDED
