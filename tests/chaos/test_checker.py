"""Each invariant finds what breaks it, and nothing in a history that is well."""

from dataclasses import replace

import pytest

from tests.chaos.checker import check
from tests.chaos.history import Accepted, Change, End, Expectation, History, Poll, Write


def make_history() -> History:
    """One job that lost its first worker and went on from step 20."""
    return History(
        seed=0,
        slots=1,
        references={"a": "sha-a"},
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
        writes=[Write(1.5, "run", "checkpoints", 1, 1, "running"), Write(4.0, "run", "models", 2, 2, "running")],
        ends=[End("job", "succeeded", None, ["sha-a"])],
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
    history.damaged, history.leftovers = ["checkpoint"], ["process"]

    assert find_kinds(history) == {("corrupted", "I5"), ("left", "I9")}
