"""What a queued run waits for, in words for its owner."""

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Interval, ScalarSelect, and_, case, func, or_, select, type_coerce
from sqlalchemy.orm import Session, aliased

from core.db.tables import Run, RunEvent, Worker
from core.db.tenant_tables import RUNNING_JOBS, ProjectQuota
from core.runs.eligibility import has_status
from core.states import EventType, RunStatus
from core.workers import list_online


class Wait(NamedTuple):
    """Its place among the queued runs of its queue, from 1, and what has to happen before it starts."""

    position: int
    reason: str


def explain_wait(session: Session, run: Run) -> Wait | None:
    """None for a run that is not queued."""
    return explain_waits(session, [run]).get(run.id)


def explain_waits(session: Session, runs: Iterable[Run], *, max_running: int | None = None) -> dict[str, Wait]:
    """Of those that are queued, by their ids; two queries, however many there are.

    `max_running` is that of a project without a quota of its own.
    """
    queued = {run.id: run for run in runs if run.status == RunStatus.QUEUED}
    if not queued:
        return {}
    online = list_online(session)
    return {
        place.run_id: Wait(
            position=place.earlier + 1, reason=_find_reason(queued[place.run_id], place, online, max_running)
        )
        for place in _find_places(session, list(queued))
    }


class _Place(NamedTuple):
    """What the database knows of the wait."""

    run_id: str
    earlier: int
    rest: timedelta  # negative once it is over
    setback: str | None  # what sent it back to the queue
    awaited_status: str | None
    awaited_rest: timedelta | None
    awaited_setback: str | None
    running: int  # of its project in its queue
    has_own_quota: bool
    own_quota: int | None


def _find_places(session: Session, run_ids: list[str]) -> list[_Place]:
    awaited = aliased(Run)
    own = select(ProjectQuota.value).where(ProjectQuota.project_id == Run.project_id, ProjectQuota.name == RUNNING_JOBS)
    query = (
        select(
            Run.id,
            _count_earlier(),
            _measure_rest(Run),
            _find_setback(Run),
            awaited.status,
            _measure_rest(awaited),
            _find_setback(awaited),
            _count_running(),
            own.exists(),
            own.scalar_subquery(),
        )
        .outerjoin(awaited, awaited.id == Run.waits_for_run_id)
        .where(Run.id.in_(run_ids))
    )
    return [_Place(*row) for row in session.execute(query)]


def _measure_rest(run: type[Run]) -> ColumnElement[timedelta]:
    return type_coerce(run.run_after - func.clock_timestamp(), Interval)


def _find_setback(run: type[Run]) -> ScalarSelect[str | None]:
    """Why it is queued again; the newest event of a queued run is the one that queued it."""
    is_newest = (RunEvent.run_id == run.id, RunEvent.seq == run.event_seq)
    return select(case((RunEvent.type == EventType.REQUEUED, RunEvent.message))).where(*is_newest).scalar_subquery()


def _count_running() -> ScalarSelect[int]:
    other = aliased(Run)
    running = (other.queue == Run.queue, other.project_id == Run.project_id, has_status(other, RunStatus.RUNNING))
    return select(func.count()).where(*running).scalar_subquery()


def _count_earlier() -> ScalarSelect[int]:
    """Fairness between projects may still let a later one go first."""
    other = aliased(Run)
    goes_first = or_(other.priority > Run.priority, and_(other.priority == Run.priority, other.id < Run.id))
    query = select(func.count()).where(other.queue == Run.queue, has_status(other, RunStatus.QUEUED), goes_first)
    return query.scalar_subquery()


def _find_reason(run: Run, place: _Place, workers: list[Worker], max_running: int | None) -> str:
    if run.waits_for_run_id is not None and place.awaited_status != RunStatus.SUCCEEDED:
        return _describe_import(place)
    online = [worker for worker in workers if worker.queue == run.queue]
    fitting = [worker for worker in online if worker.gpus >= (run.gpus or 0)]
    if not fitting:
        return f"no worker with {run.gpus} GPUs is online" if online else "no worker is online"
    if run.reserved_worker_id is not None:
        return f"a worker takes no other job until it has {run.gpus} free GPUs"
    if place.rest > timedelta():
        return f"rests after its last attempt{_describe_next(place.setback, place.rest)}"
    limit = place.own_quota if place.has_own_quota else max_running
    if limit is not None and place.running >= limit:
        return f"the project runs as many jobs at once as it may ({limit})"
    return _describe_busy(run, fitting)


def _describe_import(place: _Place) -> str:
    if place.awaited_status != RunStatus.QUEUED or place.awaited_rest is None or place.awaited_rest <= timedelta():
        return "the dataset is being imported"
    return f"the dataset could not be imported yet{_describe_next(place.awaited_setback, place.awaited_rest)}"


def _describe_next(setback: str | None, rest: timedelta) -> str:
    cause = "" if setback is None else f" ({setback})"
    return f"{cause}: the next attempt starts in {rest.total_seconds():.0f} s at the earliest"


def _describe_busy(run: Run, fitting: list[Worker]) -> str:
    if run.gpus:
        return f"waits for {run.gpus} free GPUs on one worker ({len(fitting)} online)"
    return f"waits for a free worker ({len(fitting)} online)"
