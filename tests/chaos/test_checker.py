"""Each invariant finds what breaks it, and nothing in a history that is well."""

from dataclasses import replace

import pytest

from tests.chaos.checker import check, find_gaps
from tests.chaos.history import (
    DAMAGED_CHECKPOINTS,
    POISONED,
    STOPPED_AT_POINT,
    STOPPED_WORKER,
    Accepted,
    Attempt,
    Change,
    Damage,
    End,
    Expectation,
    History,
    Import,
    Injected,
    Poll,
    Refusal,
    Write,
)


def make_history() -> History:
    """One job that lost its first worker and went on from step 20."""
    return History(
        seed=0,
        slots=1,
        references={"a": "sha-a"},
        acknowledged=["job"],
        accepted=[Accepted("job", "run", "a")],
        polls=[
            Poll(1.0, "job", "running", 1, "training", 15),
            Poll(2.0, "job", "running", 1, "training", 24),
            Poll(3.0, "job", "running", 2, "training", 21, resumed_from_step=20),
        ],
        changes=[
            Change(0.0, "run", "queued", 0, None),
            Change(0.5, "run", "running", 1, "worker-a"),
            Change(2.5, "run", "queued", 1, None),
            Change(2.6, "run", "running", 2, "worker-b"),
            Change(4.0, "run", "succeeded", 2, None),
        ],
        writes=[
            Write(0.9, "run", "checkpoints", 1, 1, "running", step=10),
            Write(1.5, "run", "checkpoints", 1, 1, "running", step=20),
            Write(4.0, "run", "models", 2, 2, "running"),
        ],
        attempts=[Attempt("run", 1, None), Attempt("run", 2, 20)],
        ends=[End("job", "succeeded", None, ["sha-a"])],
        imports=[Import("ds-a", "succeeded", [{"name": "good"}]), Import("ds-b", "succeeded", [{"name": "good"}])],
    )


def find_kinds(history: History) -> set[tuple[str, str]]:
    return {(violation.kind, violation.invariant) for violation in check(history)}


def test_history_that_is_well_passes() -> None:
    assert check(make_history()) == []


@pytest.mark.parametrize(
    ("ends", "found"),
    [
        ([], {("lost", "I1")}),
        ([End("job", "running", None, [])], {("lost", "I1")}),
        ([End("job", "failed", "worker_lost", [])], {("lost", "I1")}),
        ([End("job", "succeeded", None, [])], {("lost", "I3")}),
        ([End("job", "succeeded", None, ["sha-a", "sha-a"])], {("doubled", "I3")}),
        ([End("job", "succeeded", None, ["sha-b"])], {("different", "I4")}),
    ],
)
def test_wrong_ends_are_found(ends: list[End], found: set[tuple[str, str]]) -> None:
    history = make_history()
    history.ends = ends

    assert find_kinds(history) == found


@pytest.mark.parametrize(
    ("expects", "end"),
    [
        ("stop", End("job", "cancelled", None, [])),
        ("poison", End("job", "failed", "poison", [])),
        ("poison", End("job", "succeeded", None, ["sha-a"])),
        ("any", End("job", "failed", "out_of_memory", [])),
        ("any", End("job", "succeeded", None, ["sha-b"])),
    ],
)
def test_ends_that_were_asked_for_are_no_losses(expects: Expectation, end: End) -> None:
    history = make_history()
    history.accepted, history.ends = [Accepted("job", "run", "a", expects)], [end]

    assert check(history) == []


@pytest.mark.parametrize(("expects", "code"), [("poison", "worker_lost"), ("stop", "poison"), ("model", "poison")])
def test_other_failures_than_expected_are_losses(expects: Expectation, code: str) -> None:
    history = make_history()
    history.accepted = [Accepted("job", "run", "a", expects)]
    history.ends = [End("job", "failed", code, [])]

    assert find_kinds(history) == {("lost", "I1")}


@pytest.mark.parametrize(
    ("stops", "kept_at", "found"),
    [(3, 0.0, set()), (2, 0.0, {("lost", "I1")}), (3, 1.5, {("lost", "I1")})],
)
def test_poison_is_right_after_three_attempts_that_faults_took(
    stops: int, kept_at: float, found: set[tuple[str, str]]
) -> None:
    history = make_history()
    history.polls, history.attempts, history.references = [], [], {}
    history.accepted.append(Accepted("other", "other-run", "a", "any"))
    history.ends = [End("job", "failed", "poison", []), End("other", "cancelled", None, [])]
    history.changes = [
        Change(0.0, "run", "queued", 0, None),
        Change(0.1, "other-run", "running", 1, "worker-a"),
        Change(0.2, "other-run", "cancelled", 1, None),
    ]
    for number in range(1, 4):
        status = "queued" if number < 3 else "failed"
        history.changes += [
            Change(number, "run", "running", number, "worker-a"),
            Change(number + 0.4, "run", status, number, None),
        ]
    history.writes = [Write(kept_at, "run", "checkpoints", 1, 1, "running", step=1)]
    history.faults = [  # each meant for another run of the same worker
        Injected(STOPPED_WORKER, number, number + 0.3, ["other-run"]) for number in range(1, stops + 1)
    ]

    assert find_kinds(history) == found


def test_job_that_killed_its_workers_and_lives_is_found() -> None:
    history = make_history()
    history.accepted = [Accepted("job", "run", "a", "poison")]
    history.faults = [Injected(POISONED, 1.0, 1.0, ["run"])]

    assert find_kinds(history) == {("lost", "I1")}


def test_accepted_job_without_a_row_is_lost() -> None:
    history = make_history()
    history.acknowledged.append("other")

    assert [(found.kind, found.job_id) for found in check(history)] == [("lost", "other")]


def test_run_that_goes_on_after_its_end_is_found() -> None:
    history = make_history()
    history.changes.append(Change(5.0, "run", "queued", 2, None))

    assert find_kinds(history) == {("doubled", "I2")}


def test_attempt_that_is_used_twice_is_found() -> None:
    history = make_history()
    history.changes[3] = replace(history.changes[3], attempt=1)

    assert find_kinds(history) == {("doubled", "I6")}


@pytest.mark.parametrize(
    "write",
    [
        Write(3.0, "run", "checkpoints", 1, 2, "running"),
        Write(2.5, "run", "checkpoints", 1, 1, "queued"),
        Write(5.0, "run", "models", 2, 2, "succeeded"),
    ],
)
def test_write_without_the_claim_is_found(write: Write) -> None:
    history = make_history()
    history.writes.append(write)

    assert find_kinds(history) == {("doubled", "I6")}


@pytest.mark.parametrize(
    "poll",
    [
        Poll(2.1, "job", "running", 1, "training", 23),
        Poll(2.2, "job", "running", 2, "training", 19, resumed_from_step=20),
    ],
)
def test_step_back_is_found(poll: Poll) -> None:
    history = make_history()
    history.polls.insert(2, poll)

    assert ("lost", "I7") in find_kinds(history)


@pytest.mark.parametrize("step", [None, 10, 15])
def test_attempt_that_resumes_from_less_than_was_stored_is_found(step: int | None) -> None:
    history = make_history()
    history.attempts[1] = Attempt("run", 2, step)

    assert find_kinds(history) == {("lost", "I7")}


def test_attempt_that_resumes_from_the_future_is_found() -> None:
    history = make_history()
    history.writes.append(Write(2.8, "run", "checkpoints", 2, 2, "running", step=30))
    history.attempts[1] = Attempt("run", 2, 30)

    assert ("lost", "I7") in find_kinds(history)


@pytest.mark.parametrize("step", [None, 10])
def test_attempt_may_resume_from_less_when_checkpoints_were_damaged(step: int | None) -> None:
    history = make_history()
    history.faults = [Injected(DAMAGED_CHECKPOINTS, 2.5, 2.9, ["run"])]
    history.attempts[1] = Attempt("run", 2, step)

    assert check(history) == []


@pytest.mark.parametrize(("begin", "end"), [(1.0, 2.5), (3.1, 3.9)])
def test_damage_at_another_time_excuses_nothing(begin: float, end: float) -> None:
    history = make_history()
    history.faults = [Injected(DAMAGED_CHECKPOINTS, begin, end, ["run"])]
    history.attempts[1] = Attempt("run", 2, 10)

    assert find_kinds(history) == {("lost", "I7")}


def test_attempt_that_ended_before_it_trained_need_not_have_resumed() -> None:
    history = make_history()
    history.accepted, history.ends = [Accepted("job", "run", "a", "stop")], [End("job", "cancelled", None, [])]
    history.changes[-1] = Change(2.8, "run", "cancelled", 2, None)
    history.polls.pop()
    history.writes.pop()
    history.attempts[1] = Attempt("run", 2, None)

    assert check(history) == []


def test_worker_with_more_runs_than_slots_is_found() -> None:
    history = make_history()
    history.accepted.append(Accepted("other", "other-run", "a", "any"))
    history.ends.append(End("other", "succeeded", None, ["sha-a"]))
    history.changes += [
        Change(2.7, "other-run", "running", 1, "worker-b"),
        Change(5.0, "other-run", "succeeded", 1, None),
    ]

    assert find_kinds(history) == {("doubled", "I8")}


def test_damage_and_leftovers_are_found() -> None:
    history = make_history()
    history.damaged, history.leftovers = [Damage("job", "checkpoint")], ["process"]

    assert find_kinds(history) == {("corrupted", "I5"), ("left", "I9")}


@pytest.mark.parametrize(
    ("second", "found"),
    [
        (Import("ds-b", "failed", None), {("lost", "I1")}),
        (Import("ds-b", "succeeded", [{"name": "bad"}]), {("different", "I4")}),
    ],
)
def test_lost_and_different_imports_are_found(second: Import, found: set[tuple[str, str]]) -> None:
    history = make_history()
    history.imports[1] = second

    assert find_kinds(history) == found


def test_accepted_job_that_is_refused_later_is_found() -> None:
    history = make_history()
    history.refusals = [Refusal(2.0, "job", 404, "no such job")]

    assert find_kinds(history) == {("lost", "I1")}


def test_end_that_was_told_and_did_not_stay_is_found() -> None:
    history = make_history()
    history.polls.append(Poll(4.0, "job", "failed", 2))

    assert find_kinds(history) == {("doubled", "I2")}


def test_trainer_that_outlives_a_cancel_is_found() -> None:
    history = make_history()
    history.faults = [Injected("job: cancelled", 1.0, 1.0, ["run"], stopped_seconds=10.5)]

    assert find_kinds(history) == {("left", "I9")}


@pytest.mark.parametrize("stop", [STOPPED_WORKER, STOPPED_AT_POINT])
@pytest.mark.parametrize(("run_id", "found"), [("run", set()), ("other-run", {("left", "I9")})])
def test_cancel_waits_for_a_worker_that_stands_still(run_id: str, found: set[tuple[str, str]], stop: str) -> None:
    history = make_history()
    history.faults = [
        Injected("job: cancelled", 1.0, 1.0, ["run"], stopped_seconds=12.5),
        Injected(stop, 0.0, 4.0, [run_id]),
    ]

    assert find_kinds(history) == found


def test_history_in_which_nothing_happened_has_gaps() -> None:
    assert len(list(find_gaps(History(seed=0, slots=1)))) == 2


def test_undisturbed_jobs_alone_are_a_gap() -> None:
    history = make_history()
    history.ends = history.ends * 3

    assert list(find_gaps(history)) == ["only 2 jobs ended beside the undisturbed ones"]


def test_lane_that_broke_is_a_gap() -> None:
    history = make_history()
    history.ends, history.broken_lanes = history.ends * 4, ["servers: no answer"]

    assert list(find_gaps(history)) == ["a lane ended early: servers: no answer"]


def test_history_with_ends_and_polls_has_no_gap() -> None:
    history = make_history()
    history.ends = history.ends * 4

    assert list(find_gaps(history)) == []
