"""From a history and the checker's verdict to the rows of the table."""

from collections.abc import Iterator, Sequence

from core.states import TERMINAL
from tests.chaos.history import History, Injected
from tests.chaos.report import FaultRow, Totals
from tests.chaos.violation import Violation

SERVERS = ("API", "PostgreSQL", "broker", "store", "disk")  # a fault of a server is over when all is well again
RESTING = TERMINAL | {"running", "paused"}


def count_violations(violations: Sequence[Violation]) -> Totals:
    kinds = [violation.kind for violation in violations]
    return Totals(
        lost=kinds.count("lost"),
        doubled=kinds.count("doubled"),
        corrupted=kinds.count("corrupted"),
        different=kinds.count("different"),
    )


def make_rows(history: History, violations: Sequence[Violation]) -> list[FaultRow]:
    names = sorted({injected.fault for injected in history.faults})
    return [_make_row(name, history, violations) for name in names]


def _make_row(name: str, history: History, violations: Sequence[Violation]) -> FaultRow:
    faults = [injected for injected in history.faults if injected.fault == name]
    run_ids = {run_id for injected in faults for run_id in injected.run_ids}
    job_ids = {job.job_id for job in history.accepted if job.run_id in run_ids}
    totals = count_violations([violation for violation in violations if violation.job_id in job_ids])
    recoveries = [seconds for injected in faults for seconds in _measure_recoveries(injected, history)]
    return FaultRow(
        fault=name,
        injected=len(faults),
        jobs=len(job_ids),
        lost=totals.lost,
        doubled=totals.doubled,
        corrupted=totals.corrupted,
        different=totals.different,
        worst_recovery_seconds=max(recoveries, default=None),
    )


def _measure_recoveries(injected: Injected, history: History) -> Iterator[float]:
    """Of a server: from its being back to the next answer that all is well. Of a job: to its next attempt or end."""
    if injected.fault.startswith(SERVERS):
        ready = [at for at in history.ready_at if at > injected.healed_at]
        yield from (at - injected.healed_at for at in ready[:1])
        return
    for run_id in injected.run_ids:
        moved = [
            change.at
            for change in history.changes
            if change.run_id == run_id and change.at > injected.at and change.status in RESTING
        ]
        yield from (at - injected.at for at in moved[:1])
