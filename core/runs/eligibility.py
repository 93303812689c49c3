"""Which queued run a worker takes next: found by index, however many runs are queued or finished."""

from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    String,
    Subquery,
    and_,
    bindparam,
    case,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import Session, aliased

from core.db.tables import Run
from core.db.tenant_tables import RUNNING_JOBS, ProjectQuota
from core.runs.types import GpuOffer
from core.states import RunStatus

# Constants in the SQL, so that PostgreSQL keeps one plan: planning takes it longer than the query itself.
ONE: ColumnElement[int] = literal_column("1")
QUEUE = bindparam("queue", type_=String, literal_execute=True)
WORKER_ID = bindparam("worker_id", type_=String)
FREE_GPUS = bindparam("free_gpus", type_=Integer)
MAX_RUNNING = bindparam("max_running", type_=Integer)
DEFAULT_GPUS = bindparam("default_gpus", type_=Integer)


class Best(NamedTuple):
    """A run that may be claimed, and how many of its queue its project may run at once; None is no limit."""

    run_id: str
    project_id: str
    max_running: int | None


def find_best(
    session: Session, *, queue: str, worker_id: str, gpus: GpuOffer, max_running: int | None = None
) -> Best | None:
    """The best eligible run, locked; one that another worker has locked is passed over.

    `max_running` is that of a project without a quota of its own.
    """
    parameters = make_parameters(queue=queue, worker_id=worker_id, gpus=gpus, max_running=max_running)
    row = session.execute(select_best(), parameters).one_or_none()
    return None if row is None else Best(*row)


def make_parameters(
    *, queue: str, worker_id: str, gpus: GpuOffer, max_running: int | None = None
) -> dict[str, str | int | None]:
    """What `select_best` asks for."""
    return {
        "queue": queue,
        "worker_id": worker_id,
        "free_gpus": gpus.free,
        "default_gpus": gpus.default,
        "max_running": max_running,
    }


@cache
def select_best() -> Select[str, str, int | None]:
    """Groups (a priority and a project) are tried best first, and a row is locked only once it is taken.

    To lock the best of each group before choosing would hide the last runs of all groups from the workers beside
    this one. Made once: Python takes ten times as long to put it together as PostgreSQL takes to answer it.
    """
    group = _order_groups()
    taken = _find_eligible(group).with_for_update(skip_locked=True).lateral("taken")
    best = select(taken.c.id, group.c.project_id, group.c.max_running)
    return best.select_from(group.join(taken, true())).limit(ONE)


def is_claimable(run: type[Run] = Run) -> tuple[ColumnElement[bool], ...]:
    """Queued, not resting after a failure, and what it waits for is there."""
    return (
        has_status(run, RunStatus.QUEUED),
        run.run_after <= func.clock_timestamp(),
        or_(run.waits_for_run_id.is_(None), find_awaited_status(run) == RunStatus.SUCCEEDED),
    )


def find_awaited_status(run: type[Run]) -> ScalarSelect[str]:
    """Looked up by its key; an EXISTS may be planned as a hash of all runs that have succeeded."""
    awaited = aliased(Run)
    return select(awaited.status).where(awaited.id == run.waits_for_run_id).scalar_subquery()


def has_status(run: type[Run], status: RunStatus) -> ColumnElement[bool]:
    """A constant in the SQL: a prepared plan may use a partial index only when it knows the status."""
    return run.status == literal(status, String, literal_execute=True)


def _order_groups() -> Subquery:
    """The groups with an eligible run and room for it: highest priority, then fewest running, then the oldest run."""
    group = _list_groups()
    oldest = _find_eligible(group).lateral("oldest")
    running = _count_running()
    num_running = func.coalesce(running.c.count, 0)
    max_running = case((ProjectQuota.project_id.is_(None), MAX_RUNNING), else_=ProjectQuota.value)
    own_quota = and_(ProjectQuota.project_id == group.c.project_id, ProjectQuota.name == _quota_name())
    return (
        select(group.c.priority, group.c.project_id, max_running.label("max_running"))
        .select_from(
            group.join(oldest, true())
            .outerjoin(running, running.c.project_id == group.c.project_id)
            .outerjoin(ProjectQuota, own_quota)
        )
        .where(or_(max_running.is_(None), num_running < max_running))
        .order_by(group.c.priority.desc(), num_running, oldest.c.id)
        .subquery("ordered")
    )


def _quota_name() -> ColumnElement[str]:
    """Of the queue that trains; imports have none."""
    return case((literal_column("'train'") == QUEUE, literal_column(f"'{RUNNING_JOBS}'")), else_=null())


def _list_groups() -> CTE:
    """Jumps along the index from group to group, so that the runs inside a group cost nothing."""
    groups = _find_queued_group(Run).cte("groups", recursive=True)
    run = aliased(Run)
    is_later = tuple_(run.priority, run.project_id) > tuple_(groups.c.priority, groups.c.project_id)
    later = _find_queued_group(run).where(is_later).lateral("later")
    return groups.union_all(select(later.c.priority, later.c.project_id).select_from(groups.join(later, true())))


def _find_queued_group(run: type[Run]) -> Select[int, str]:
    queued = select(run.priority, run.project_id).where(run.queue == QUEUE, has_status(run, RunStatus.QUEUED))
    return queued.order_by(run.priority, run.project_id).limit(ONE)


def _count_running() -> Subquery:
    running = select(Run.project_id, func.count().label("count"))
    running = running.where(has_status(Run, RunStatus.RUNNING), Run.queue == QUEUE)
    return running.group_by(Run.project_id).subquery("running")


def _find_eligible(group: CTE | Subquery) -> Select[str]:
    """The oldest run of a group that the worker may take.

    PostgreSQL takes the outcome of a CASE for even odds, and so walks the index. Its guesses about the conditions
    multiply to next to nothing, and it would rather sort the whole group.
    """
    run = aliased(Run)
    in_group = (
        run.queue == QUEUE,
        has_status(run, RunStatus.QUEUED),
        run.priority == group.c.priority,
        run.project_id == group.c.project_id,
    )
    is_eligible = case((and_(*is_claimable(run), *_fits_worker(run)), true()), else_=false())
    return select(run.id).where(*in_group, is_eligible).order_by(run.id).limit(ONE)


def _fits_worker(run: type[Run]) -> tuple[ColumnElement[bool], ...]:
    """What a worker is reserved for is all that it takes."""
    reserved = aliased(Run)
    is_reserved = select(reserved.id).where(
        has_status(reserved, RunStatus.QUEUED), reserved.reserved_worker_id == WORKER_ID
    )
    return (
        func.coalesce(run.gpus, DEFAULT_GPUS) <= FREE_GPUS,
        or_(run.reserved_worker_id == WORKER_ID, ~is_reserved.exists()),
    )
