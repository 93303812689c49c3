"""What a queued run waits for, in words for its owner."""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ScalarSelect, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from core.db.tables import Run, Worker
from core.runs.eligibility import has_status
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
    place = _find_place(session, run)
    return Wait(position=place.earlier + 1, reason=_find_reason(session, run, place))


class _Place(NamedTuple):
    """What the database knows of the wait."""

    earlier: int
    awaited_status: str | None
    rest: timedelta  # negative once it is over


def _find_place(session: Session, run: Run) -> _Place:
    awaited = select(Run.status).where(Run.id == run.waits_for_run_id).scalar_subquery()
    rest = literal(run.run_after) - func.clock_timestamp()
    return _Place(*session.execute(select(_count_earlier(run), awaited, rest)).one())


def _count_earlier(run: Run) -> ScalarSelect[int]:
    """Fairness between projects may still let a later one go first."""
    goes_first = or_(Run.priority > run.priority, and_(Run.priority == run.priority, Run.id < run.id))
    query = select(func.count()).where(Run.queue == run.queue, has_status(Run, RunStatus.QUEUED), goes_first)
    return query.scalar_subquery()


def _find_reason(session: Session, run: Run, place: _Place) -> str:
    if run.waits_for_run_id is not None and place.awaited_status != RunStatus.SUCCEEDED:
        return "the dataset is being imported"
    online = [worker for worker in list_online(session) if worker.queue == run.queue]
    if not online:
        return "no worker is online"
    fitting = [worker for worker in online if worker.gpus >= (run.gpus or 0)]
    if not fitting:
        return f"no worker with {run.gpus} GPUs is online"
    if run.reserved_worker_id is not None:
        return f"a worker takes no other job until it has {run.gpus} free GPUs"
    if place.rest > timedelta():
        return (
            f"rests after its last attempt: the next one starts in {place.rest.total_seconds():.0f} s at the earliest"
        )
    return _describe_busy(run, fitting)


def _describe_busy(run: Run, fitting: list[Worker]) -> str:
    if run.gpus:
        return f"waits for {run.gpus} free GPUs on one worker ({len(fitting)} online)"
    return f"waits for a free worker ({len(fitting)} online)"
