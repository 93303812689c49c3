"""Which attempts the suite itself took: three of them in a row, and a job has to fail as poison."""

from itertools import pairwise

from core.runs.types import MAX_LOSSES
from tests.chaos.history import STOPPED_AT_POINT, STOPPED_WORKER, Change, History, Injected

TAKING = (
    "trainer: kill -9",
    "trainer: hangs",
    "worker group: kill -9",
    "worker: kill -9",
    STOPPED_WORKER,
    STOPPED_AT_POINT,
)


def was_poisoned(history: History, run_id: str) -> bool:
    """Whether faults took so many attempts since the last checkpoint.

    A fault of a worker takes whatever that worker holds by then, also a run that it has claimed at that moment.
    """
    last_kept_at = max((write.at for write in history.writes if _keeps(write.table, write.run_id, run_id)), default=0.0)
    faults = [fault for fault in history.faults if fault.fault.startswith(TAKING)]
    taken = 0
    for claim, end in _list_attempts(history, run_id):
        if end.at >= last_kept_at:
            taken += any(_takes(fault, claim, end, history) for fault in faults)
    return taken >= MAX_LOSSES


def _keeps(table: str, written: str, run_id: str) -> bool:
    return table == "checkpoints" and written == run_id


def _list_attempts(history: History, run_id: str) -> list[tuple[Change, Change]]:
    """Each from its claim to its end."""
    changes = [change for change in history.changes if change.run_id == run_id]
    return [(change, after) for change, after in pairwise(changes) if change.status == "running"]


def _takes(fault: Injected, claim: Change, end: Change, history: History) -> bool:
    if fault.at > end.at or fault.healed_at < claim.at:
        return False
    return claim.run_id in fault.run_ids or claim.worker_id in {
        _find_last_worker(history, run_id, fault.at) for run_id in fault.run_ids
    }


def _find_last_worker(history: History, run_id: str, at: float) -> str | None:
    workers = [
        change.worker_id
        for change in history.changes
        if change.run_id == run_id and change.at <= at and change.worker_id is not None
    ]
    return workers[-1] if workers else None
