"""What a queued run waits for, in words for its owner."""

from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ScalarSelect, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from core.db.tables import Run, Worker
from core.db.tenant_tables import RUNNING_JOBS, ProjectQuota
from core.runs.eligibility import has_status
from core.states import RunStatus
from core.workers import list_online


class Wait(NamedTuple):
    """Its place among the queued runs of its queue, from 1, and what has to happen before it starts."""

    position: int
    reason: str


def explain_wait(session: Session, run: Run, *, max_running: int | None = None) -> Wait | None:
    """None for a run that is not queued. `max_running` is that of a project without a quota of its own."""
    if run.status != RunStatus.QUEUED:
        return None
    place = _find_place(session, run)
    return Wait(position=place.earlier + 1, reason=_find_reason(session, run, place, max_running))


class _Place(NamedTuple):
    """What the database knows of the wait."""

    earlier: int
    awaited_status: str | None
    rest: timedelta  # negative once it is over
    running: int  # of its project in its queue
    has_own_quota: bool
    own_quota: int | None


def _find_place(session: Session, run: Run) -> _Place:
    awaited = select(Run.status).where(Run.id == run.waits_for_run_id).scalar_subquery()
    rest = literal(run.run_after) - func.clock_timestamp()
    own = select(ProjectQuota.value).where(ProjectQuota.project_id == run.project_id, ProjectQuota.name == RUNNING_JOBS)
    parts = (_count_earlier(run), awaited, rest, _count_running(run), own.exists(), own.scalar_subquery())
    return _Place(*session.execute(select(*parts)).one())


def _count_running(run: Run) -> ScalarSelect[int]:
    running = (Run.queue == run.queue, Run.project_id == run.project_id, has_status(Run, RunStatus.RUNNING))
    return select(func.count()).where(*running).scalar_subquery()


def _count_earlier(run: Run) -> ScalarSelect[int]:
    """Fairness between projects may still let a later one go first."""
    goes_first = or_(Run.priority > run.priority, and_(Run.priority == run.priority, Run.id < run.id))
    query = select(func.count()).where(Run.queue == run.queue, has_status(Run, RunStatus.QUEUED), goes_first)
    return query.scalar_subquery()


def _find_reason(session: Session, run: Run, place: _Place, max_running: int | None) -> str:
    if run.waits_for_run_id is not None and place.awaited_status != RunStatus.SUCCEEDED:
        return "the dataset is being imported"
    online = [worker for worker in list_online(session) if worker.queue == run.queue]
    fitting = [worker for worker in online if worker.gpus >= (run.gpus or 0)]
    if not fitting:
        return f"no worker with {run.gpus} GPUs is online" if online else "no worker is online"
    if run.reserved_worker_id is not None:
        return f"a worker takes no other job until it has {run.gpus} free GPUs"
    if place.rest > timedelta():
        return f"the last attempt failed: the next one starts in {place.rest.total_seconds():.0f} s at the earliest"
    limit = place.own_quota if place.has_own_quota else max_running
    if limit is not None and place.running >= limit:
        return f"the project runs as many jobs at once as it may ({limit})"
    return _describe_busy(run, fitting)


def _describe_busy(run: Run, fitting: list[Worker]) -> str:
    if run.gpus:
        return f"waits for {run.gpus} free GPUs on one worker ({len(fitting)} online)"
    return f"waits for a free worker ({len(fitting)} online)"
