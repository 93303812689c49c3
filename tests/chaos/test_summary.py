"""Each violation stands in the rows of the faults that hit its job, and once in the totals."""

from tests.chaos.history import Accepted, Change, History, Injected
from tests.chaos.report import Totals
from tests.chaos.summary import count_violations, make_rows
from tests.chaos.violation import Kind, Violation

KINDS: tuple[Kind, ...] = ("lost", "doubled", "corrupted", "different")


def make_history() -> History:
    return History(
        seed=0,
        slots=1,
        accepted=[Accepted("job", "run", "a"), Accepted("other", "other-run", "a")],
        changes=[Change(1.5, "run", "running", 2, "worker"), Change(9.0, "run", "succeeded", 2, None)],
        ready_at=[1.0, 4.0],
        faults=[
            Injected("trainer: kill -9", 1.0, 1.0, ["run"]),
            Injected("broker: FLUSHALL", 2.0, 3.0, ["run", "other-run"]),
            Injected("worker: SIGTERM", 2.0, 2.0, []),
        ],
    )


def test_violation_counts_for_every_fault_that_hit_its_job() -> None:
    violations = [Violation(kind, "I0", "job", "") for kind in KINDS]

    rows = {row.fault: row for row in make_rows(make_history(), violations)}

    for fault, count in (("trainer: kill -9", 1), ("broker: FLUSHALL", 1), ("worker: SIGTERM", 0)):
        row = rows[fault]
        assert (row.lost, row.doubled, row.corrupted, row.different) == (count, count, count, count)
    assert count_violations(violations) == Totals(lost=1, doubled=1, corrupted=1, different=1)


def test_recovery_is_the_next_attempt_of_a_job_and_the_next_good_answer_of_a_server() -> None:
    worst = {row.fault: row.worst_recovery_seconds for row in make_rows(make_history(), [])}

    assert worst == {"trainer: kill -9": 0.5, "broker: FLUSHALL": 1.0, "worker: SIGTERM": None}
