"""Which queued run a worker takes next: found by index, however many runs are queued or finished."""

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    String,
    Subquery,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.orm import aliased

from core.db.tables import Run
from core.runs.types import GpuOffer
from core.states import RunStatus

ONE: ColumnElement[int] = literal_column("1")  # were it a parameter, it would be planned as a tenth of the rows


def select_best(queue: str, worker_id: str, gpus: GpuOffer) -> Select[str]:
    """The id of the best eligible run, locked; one that another worker has locked is passed over.

    Groups (a priority and a project) are tried best first, and a row is locked only once it is taken: locking the
    best of each group before choosing would hide the last runs of all groups from the workers beside this one.
    """
    group = _order_groups(queue, worker_id, gpus)
    run = aliased(Run)
    in_group = (run.priority == group.c.priority, run.project_id == group.c.project_id)
    taken = (
        select(run.id)
        .where(*in_group, *_is_eligible(run, queue, worker_id, gpus))
        .order_by(run.id)
        .limit(ONE)
        .with_for_update(skip_locked=True)
        .lateral("taken")
    )
    return select(taken.c.id).select_from(group.join(taken, true())).limit(ONE)


def is_claimable(run: type[Run] = Run) -> tuple[ColumnElement[bool], ...]:
    """Queued, not resting after a failure, and what it waits for is there."""
    awaited = aliased(Run)
    awaited_is_done = (
        select(awaited.id).where(awaited.id == run.waits_for_run_id, awaited.status == RunStatus.SUCCEEDED).exists()
    )
    return (
        has_status(run, RunStatus.QUEUED),
        run.run_after <= func.clock_timestamp(),
        or_(run.waits_for_run_id.is_(None), awaited_is_done),
    )


def has_status(run: type[Run], status: RunStatus) -> ColumnElement[bool]:
    """A constant in the SQL: a prepared plan may use a partial index only when it knows the status."""
    return run.status == literal(status, String, literal_execute=True)


def wanted_gpus(run: type[Run], offer: GpuOffer) -> ColumnElement[int]:
    return func.coalesce(run.gpus, min(1, offer.total))


def _order_groups(queue: str, worker_id: str, gpus: GpuOffer) -> Subquery:
    """The groups with an eligible run: highest priority, then fewest running, then the oldest run."""
    group = _list_groups(queue)
    run = aliased(Run)
    in_group = (run.priority == group.c.priority, run.project_id == group.c.project_id)
    eligible = select(run.id).where(*in_group, *_is_eligible(run, queue, worker_id, gpus))
    oldest = eligible.order_by(run.id).limit(ONE).lateral("oldest")
    running = _count_running(queue)
    return (
        select(group.c.priority, group.c.project_id)
        .select_from(group.join(oldest, true()).outerjoin(running, running.c.project_id == group.c.project_id))
        .order_by(group.c.priority.desc(), func.coalesce(running.c.count, 0), oldest.c.id)
        .subquery("ordered")
    )


def _list_groups(queue: str) -> CTE:
    """Jumps along the index from group to group, so that the runs inside a group cost nothing."""
    groups = _find_queued_group(Run, queue).cte("groups", recursive=True)
    run = aliased(Run)
    is_later = tuple_(run.priority, run.project_id) > tuple_(groups.c.priority, groups.c.project_id)
    later = _find_queued_group(run, queue).where(is_later).lateral("later")
    return groups.union_all(select(later.c.priority, later.c.project_id).select_from(groups.join(later, true())))


def _find_queued_group(run: type[Run], queue: str) -> Select[int, str]:
    queued = select(run.priority, run.project_id).where(run.queue == queue, has_status(run, RunStatus.QUEUED))
    return queued.order_by(run.priority, run.project_id).limit(ONE)


def _count_running(queue: str) -> Subquery:
    running = select(Run.project_id, func.count().label("count"))
    running = running.where(has_status(Run, RunStatus.RUNNING), Run.queue == queue)
    return running.group_by(Run.project_id).subquery("running")


def _is_eligible(run: type[Run], queue: str, worker_id: str, gpus: GpuOffer) -> tuple[ColumnElement[bool], ...]:
    """What a worker is reserved for is all that it takes."""
    reserved = aliased(Run)
    is_reserved = select(reserved.id).where(
        has_status(reserved, RunStatus.QUEUED), reserved.reserved_worker_id == worker_id
    )
    return (
        run.queue == queue,
        *is_claimable(run),
        wanted_gpus(run, gpus) <= gpus.free,
        or_(run.reserved_worker_id == worker_id, ~is_reserved.exists()),
    )
