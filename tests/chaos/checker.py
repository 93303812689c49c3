"""Decides by the invariants whether a chaos run went well. I8 (quotas) waits for quotas; slots stand in for them."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

from tests.chaos.history import Accepted, Change, End, History, Poll

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})

Kind = Literal["lost", "doubled", "corrupted", "different", "left"]


class Violation(NamedTuple):
    """`job_id` is None where no single job is to blame."""

    kind: Kind
    invariant: str
    job_id: str | None
    text: str


def check(history: History) -> list[Violation]:
    return [violation for invariant in INVARIANTS for violation in invariant(history)]


def find_lost(history: History) -> Iterator[Violation]:
    """I1: every accepted job ends as it should."""
    ends = {end.job_id: end for end in history.ends}
    for job in history.accepted:
        problem = _find_problem(job, ends.get(job.job_id))
        if problem is not None:
            yield Violation("lost", "I1", job.job_id, problem)


def find_second_ends(history: History) -> Iterator[Violation]:
    """I2: an end is final; I1: there is one."""
    for run_id, changes in _group_changes(history).items():
        ended = [index for index, change in enumerate(changes) if change.status in TERMINAL]
        if ended and ended[0] != len(changes) - 1:
            texts = [f"{change.status}/{change.attempt}" for change in changes[ended[0] :]]
            yield Violation("doubled", "I2", _find_job(history, run_id), f"it went on after its end: {texts}")


def find_second_models(history: History) -> Iterator[Violation]:
    """I3: one model a succeeded job, none of the others."""
    for end in history.ends:
        wanted = 1 if end.status == "succeeded" else 0
        if len(end.weights_sha256) != wanted:
            kind: Kind = "doubled" if len(end.weights_sha256) > wanted else "lost"
            text = f"{end.status} with {len(end.weights_sha256)} models"
            yield Violation(kind, "I3", end.job_id, text)


def find_different(history: History) -> Iterator[Violation]:
    """I4: the weights are those of the undisturbed run, bit by bit. Jobs without memory have another micro-batch."""
    compared = {job.job_id: job for job in history.accepted if job.expects != "any"}
    for end in history.ends:
        job = compared.get(end.job_id)
        if job is None:
            continue
        reference = history.references.get(job.variant)
        if any(sha256 != reference for sha256 in end.weights_sha256):
            yield Violation("different", "I4", end.job_id, f"{end.weights_sha256} is not {reference}")


def find_corrupted(history: History) -> Iterator[Violation]:
    """I5: what a row promises is in the store."""
    for text in history.damaged:
        yield Violation("corrupted", "I5", None, text)


def find_unfenced(history: History) -> Iterator[Violation]:
    """I6: attempts count up one by one, and only the one that holds the run writes."""
    for run_id, changes in _group_changes(history).items():
        claims = [change.attempt for change in changes if change.status == "running"]
        if claims != list(range(1, len(claims) + 1)):
            yield Violation("doubled", "I6", _find_job(history, run_id), f"attempts {claims}")
    for write in history.writes:
        if write.attempt != write.holder or write.run_status != "running":
            text = f"attempt {write.attempt} wrote {write.table} while {write.holder} was {write.run_status}"
            yield Violation("doubled", "I6", _find_job(history, write.run_id), text)


def find_steps_back(history: History) -> Iterator[Violation]:
    """I7: steps never go back within an attempt, and a new one starts where it says that it resumed."""
    polls: dict[str, list[Poll]] = defaultdict(list)
    for poll in history.polls:
        if poll.stage == "training" and poll.step is not None:
            polls[poll.job_id].append(poll)
    for job_id, answers in polls.items():
        for before, after in pairwise(answers):
            floor = before.step if before.attempt == after.attempt else after.resumed_from_step or 0
            if (after.step or 0) < (floor or 0):
                text = f"step {after.step} of attempt {after.attempt} after {before.step} of {before.attempt}"
                yield Violation("lost", "I7", job_id, text)


def find_overfull(history: History) -> Iterator[Violation]:
    """I8, as far as there are quotas: no worker runs more than its slots."""
    holder: dict[str, str | None] = {}
    for change in sorted(history.changes, key=lambda change: change.at):
        holder[change.run_id] = change.worker_id if change.status == "running" else None
        count = sum(worker == change.worker_id for worker in holder.values())
        if change.worker_id is not None and count > history.slots:
            text = f"{change.worker_id} ran {count} of {history.slots}"
            yield Violation("doubled", "I8", _find_job(history, change.run_id), text)


def find_left_behind(history: History) -> Iterator[Violation]:
    """I9: no process, file or object is left."""
    for text in history.leftovers:
        yield Violation("left", "I9", None, text)


INVARIANTS: tuple[Callable[[History], Iterator[Violation]], ...] = (
    find_lost,
    find_second_ends,
    find_second_models,
    find_different,
    find_corrupted,
    find_unfenced,
    find_steps_back,
    find_overfull,
    find_left_behind,
)


def _find_problem(job: Accepted, end: End | None) -> str | None:
    if end is None:
        return "it is gone"
    if end.status not in TERMINAL:
        return f"it is still {end.status}"
    described = f"it {end.status}: {end.code}"
    match job.expects:
        case "model":
            return None if end.status == "succeeded" else described
        case "stop":
            return None if end.status in {"cancelled", "succeeded"} else described
        case "poison":
            return None if end.code == "poison" else described
        case "any":
            return None


def _group_changes(history: History) -> dict[str, list[Change]]:
    grouped: dict[str, list[Change]] = defaultdict(list)
    for change in history.changes:
        grouped[change.run_id].append(change)
    return grouped


def _find_job(history: History, run_id: str) -> str | None:
    return next((job.job_id for job in history.accepted if job.run_id == run_id), None)
