"""Decides by the invariants whether a chaos run went well. I8 (quotas) waits for quotas; slots stand in for them."""

from collections import defaultdict
from collections.abc import Callable, Iterator

from core.states import TERMINAL
from tests.chaos.history import POISONED, STOPPED_AT_POINT, STOPPED_WORKER, Accepted, Change, End, History, Injected
from tests.chaos.poison import was_poisoned
from tests.chaos.steps import find_steps_back, find_wrong_resumes
from tests.chaos.violation import Kind, Violation

MIN_ENDED = 3
STOP_SECONDS = 10.0  # in which a cancel or a pause has its trainers gone


def check(history: History) -> list[Violation]:
    return [violation for invariant in INVARIANTS for violation in invariant(history)]


def find_gaps(history: History) -> Iterator[str]:
    """What did not happen at all, so that a verdict would say nothing."""
    ended = sum(end.status in TERMINAL for end in history.ends) - len(history.references)
    if ended < MIN_ENDED:
        yield f"only {ended} jobs ended beside the undisturbed ones"
    if not history.polls:
        yield "no poll was answered"
    yield from (f"a lane ended early: {text}" for text in history.broken_lanes)


def find_lost(history: History) -> Iterator[Violation]:
    """I1: every accepted job ends as it should; one that a client saw accepted is there."""
    for job_id in sorted(set(history.acknowledged) - {job.job_id for job in history.accepted}):
        yield Violation("lost", "I1", job_id, "its 202 was seen, and it is gone")
    ends = {end.job_id: end for end in history.ends}
    poisoned = {run_id for fault in history.faults if fault.fault == POISONED for run_id in fault.run_ids}
    for job in history.accepted:
        end = ends.get(job.job_id)
        problem = _find_problem(job, end, is_poisoned=job.run_id in poisoned)
        if problem is not None and not _is_rightly_poison(history, job, end):
            yield Violation("lost", "I1", job.job_id, problem)


def find_lost_imports(history: History) -> Iterator[Violation]:
    """I1 and I4 for datasets: each is ready, with the samples of the undisturbed one."""
    for item in history.imports:
        if item.status != "succeeded":
            yield Violation("lost", "I1", None, f"the import of {item.dataset_id} is {item.status}")
        elif item.classes != history.imports[0].classes:
            yield Violation("different", "I4", None, f"{item.dataset_id} has {item.classes}")


def find_second_ends(history: History) -> Iterator[Violation]:
    """I2: an end is final; I1: there is one."""
    for run_id, changes in _group_changes(history).items():
        ended = [index for index, change in enumerate(changes) if change.status in TERMINAL]
        if ended and ended[0] != len(changes) - 1:
            texts = [f"{change.status}/{change.attempt}" for change in changes[ended[0] :]]
            yield Violation("doubled", "I2", _find_job(history, run_id), f"it went on after its end: {texts}")


def find_wrong_answers(history: History) -> Iterator[Violation]:
    """I1: an accepted job is there for whoever asks; I2: an end that was told stays."""
    for refusal in history.refusals:
        yield Violation("lost", "I1", refusal.job_id, f"it was answered {refusal.status_code}: {refusal.text}")
    ends = {end.job_id: end.status for end in history.ends}
    for poll in history.polls:
        if poll.status in TERMINAL and poll.status != ends.get(poll.job_id):
            yield Violation("doubled", "I2", poll.job_id, f"it was said to be {poll.status}: {ends.get(poll.job_id)}")


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
    for damage in history.damaged:
        yield Violation("corrupted", "I5", damage.job_id, damage.text)


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


def find_late_stops(history: History) -> Iterator[Violation]:
    """I9: what a user stops is gone in time; a worker that is stopped itself meanwhile has that much longer."""
    for injected in history.faults:
        seconds = injected.stopped_seconds
        if seconds is not None and seconds > STOP_SECONDS + _sum_standstill(history, injected, seconds):
            job_id = next((_find_job(history, run_id) for run_id in injected.run_ids), None)
            yield Violation("left", "I9", job_id, f"{injected.fault}: its trainers were there for {seconds:.1f} s")


INVARIANTS: tuple[Callable[[History], Iterator[Violation]], ...] = (
    find_lost,
    find_lost_imports,
    find_second_ends,
    find_wrong_answers,
    find_second_models,
    find_different,
    find_corrupted,
    find_unfenced,
    find_steps_back,
    find_wrong_resumes,
    find_overfull,
    find_left_behind,
    find_late_stops,
)


def _find_problem(job: Accepted, end: End | None, *, is_poisoned: bool) -> str | None:
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
            may_live = not is_poisoned and end.status == "succeeded"
            return None if end.code == "poison" or may_live else described
        case "any":
            return None


def _is_rightly_poison(history: History, job: Accepted, end: End | None) -> bool:
    """The suite means to spare such a job; where it took three attempts all the same, this is how it has to end."""
    return end is not None and end.code == "poison" and was_poisoned(history, job.run_id)


def _sum_standstill(history: History, injected: Injected, seconds: float) -> float:
    """For how long a SIGSTOP kept the worker of its run from acting."""
    end = injected.at + seconds
    stops = [fault for fault in history.faults if fault.fault in {STOPPED_WORKER, STOPPED_AT_POINT}]
    return sum(
        max(0.0, min(stop.healed_at, end) - max(stop.at, injected.at))
        for stop in stops
        if set(stop.run_ids) & set(injected.run_ids)
    )


def _group_changes(history: History) -> dict[str, list[Change]]:
    grouped: dict[str, list[Change]] = defaultdict(list)
    for change in history.changes:
        grouped[change.run_id].append(change)
    return grouped


def _find_job(history: History, run_id: str) -> str | None:
    return next((job.job_id for job in history.accepted if job.run_id == run_id), None)
