"""I7: no progress is lost that a checkpoint has kept."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.history import DAMAGED_CHECKPOINTS, Attempt, Change, History, Injected, Poll, Write
from tests.chaos.violation import Violation


def find_steps_back(history: History) -> Iterator[Violation]:
    """Steps never go back within an attempt, and a new one starts where it says that it resumed."""
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


def find_wrong_resumes(history: History) -> Iterator[Violation]:
    """An attempt goes on from the newest checkpoint of its run; from an older one only if the store damaged it."""
    damages = [fault for fault in history.faults if fault.fault == DAMAGED_CHECKPOINTS]
    runs = _group_by_run(history)
    for attempt in history.attempts:
        run = runs[attempt.run_id]
        problem = _find_problem(run, attempt, [fault for fault in damages if attempt.run_id in fault.run_ids])
        if problem is not None:
            yield Violation("lost", "I7", run.job_id, problem)


@dataclass
class _Run:
    """What was seen of one run."""

    job_id: str | None = None
    changes: list[Change] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)


def _group_by_run(history: History) -> dict[str, _Run]:
    runs: dict[str, _Run] = defaultdict(_Run)
    run_ids = {job.job_id: job.run_id for job in history.accepted}
    for job_id, run_id in run_ids.items():
        runs[run_id].job_id = job_id
    for change in history.changes:
        runs[change.run_id].changes.append(change)
    for write in history.writes:
        runs[write.run_id].writes.append(write)
    for poll in history.polls:
        if poll.job_id in run_ids:
            runs[run_ids[poll.job_id]].polls.append(poll)
    return runs


def _find_problem(run: _Run, attempt: Attempt, damages: Sequence[Injected]) -> str | None:
    claimed_at = _find_claim(run, attempt)
    if claimed_at is None:  # I6's business
        return None
    steps = {write.step for write in run.writes if write.step is not None and write.at < claimed_at}
    resumed, newest = attempt.resumed_from_step, max(steps, default=None)
    if resumed is not None and resumed not in steps:
        return f"attempt {attempt.number} began at {resumed}, of which there was no checkpoint"
    if resumed == newest or _may_begin_earlier(run, attempt, damages, claimed_at):
        return None
    return f"attempt {attempt.number} began at {resumed or 0}, and there was a checkpoint of {newest}"


def _find_claim(run: _Run, attempt: Attempt) -> float | None:
    changes = [change for change in run.changes if change.attempt == attempt.number]
    return next((change.at for change in changes if change.status == "running"), None)


def _may_begin_earlier(run: _Run, attempt: Attempt, damages: Sequence[Injected], claimed_at: float) -> bool:
    """It never came to say where it goes on, or what it read on its way there was damaged."""
    trained_at = _list_trained_at(run, attempt)
    if attempt.resumed_from_step is None and not trained_at:
        return True
    ends = [change.at for change in run.changes if change.attempt == attempt.number and change.status != "running"]
    begun_by = min([*trained_at, *ends], default=float("inf"))
    return any(damage.at < begun_by and damage.healed_at > claimed_at for damage in damages)


def _list_trained_at(run: _Run, attempt: Attempt) -> list[float]:
    """When the attempt was seen to train, or to have trained."""
    writes = [write.at for write in run.writes if write.attempt == attempt.number]
    polls = [poll.at for poll in run.polls if poll.attempt == attempt.number and poll.stage == "training"]
    return writes + polls
