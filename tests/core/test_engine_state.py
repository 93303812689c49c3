"""What each number means, on real rows."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from core import deletions
from core.db.tables import Deletion, Installation, Run, Worker
from core.engine_state import Waiting, read_engine_state
from core.installation import claim_collection, record_collection
from core.runs import claims, lifecycle
from core.runs.types import FailureClass, RunKind, StatusReason
from core.workers import beat_worker, leave, record_sweep
from tests.factories import claim_run, make_run, make_worker

DIVERGED = StatusReason(code="diverged", message="the loss is not finite", owner="user")


def read_waiting(session: Session, *, is_claimable: bool) -> Waiting:
    waiting = read_engine_state(session).waiting
    return next(item for item in waiting if item.is_claimable == is_claimable)


def age(session: Session, run: Run, *, queued: int, hinted: int) -> None:
    """By seconds."""
    run.queued_at -= timedelta(seconds=queued)
    run.hinted_at -= timedelta(seconds=hinted)
    session.flush()


def test_empty_engine_has_nothing_to_say(session: Session) -> None:
    state = read_engine_state(session)

    assert (state.waiting, state.running, state.workers, state.sweep) == ([], {}, [], None)
    assert state.orphans_collected_seconds_ago is None


def test_depth_and_wait_are_those_of_the_oldest(session: Session) -> None:
    age(session, make_run(session), queued=50, hinted=20)
    age(session, make_run(session), queued=10, hinted=40)

    waiting = read_waiting(session, is_claimable=True)

    assert (waiting.queue, waiting.runs) == ("train", 2)
    assert waiting.longest_wait_seconds == pytest.approx(50, abs=5)


def test_hint_is_the_newest_of_the_whole_queue(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    age(session, make_run(session, project_id=awaited.project_id, waits_for=awaited), queued=0, hinted=20)
    for _ in range(2):
        age(session, make_run(session), queued=0, hinted=40)

    waiting = read_engine_state(session).waiting

    assert {item.queue: round(item.hint_age_seconds, -1) for item in waiting} == {"imports": 0, "train": 20}


def test_run_that_waits_for_an_import_is_not_claimable(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    age(session, make_run(session, project_id=awaited.project_id, waits_for=awaited), queued=100, hinted=0)

    waiting = read_waiting(session, is_claimable=False)

    assert (waiting.queue, waiting.runs) == ("train", 1)
    assert read_waiting(session, is_claimable=True).queue == "imports"


def test_run_that_rests_after_a_failure_is_not_claimable(session: Session) -> None:
    make_run(session)
    claims.fail(session, claim_run(session), FailureClass.CRASH, DIVERGED)

    assert read_waiting(session, is_claimable=False).runs == 1


def test_running_runs_are_counted_by_kind(session: Session) -> None:
    make_run(session)
    make_run(session, kind=RunKind.IMPORT)
    claim_run(session)

    assert read_engine_state(session).running == {"train": 1}


def test_ends_attempts_and_failures_are_counted(session: Session) -> None:
    for _ in range(4):
        make_run(session)
    claims.succeed(session, claim_run(session))
    claims.fail(session, claim_run(session), FailureClass.USER, DIVERGED)
    claims.hand_back(session, claim_run(session), "its worker shuts down")
    lifecycle.request_cancel(session, make_run(session).id)

    state = read_engine_state(session)

    assert state.ended == {("train", "succeeded"): 1, ("train", "failed"): 1, ("train", "cancelled"): 1}
    assert state.failures == {("train", "diverged"): 1}
    assert state.attempts == {"succeeded": 1, "failed": 1, "requeued": 1}


def age_beat(session: Session, worker: Worker, *, seconds: int) -> None:
    worker.heartbeat_at -= timedelta(seconds=seconds)
    session.flush()


@pytest.mark.parametrize(("seconds", "is_online"), [(0, True), (40, False)])
def test_worker_is_online_while_it_beats(session: Session, seconds: int, is_online: bool) -> None:
    age_beat(session, make_worker(session, gpus=2), seconds=seconds)

    [worker] = read_engine_state(session).workers

    assert (worker.queue, worker.gpus, worker.is_online) == ("train", 2, is_online)
    assert worker.beat_seconds_ago == pytest.approx(seconds, abs=5)


def test_worker_that_left_or_is_long_silent_is_not_shown(session: Session) -> None:
    leave(session, make_worker(session).id)
    age_beat(session, make_worker(session), seconds=4000)

    assert read_engine_state(session).workers == []


def test_storage_errors_are_those_that_the_worker_beat_with(session: Session) -> None:
    worker = make_worker(session)
    assert read_engine_state(session).workers[0].storage_errors == 0

    beat_worker(session, worker, storage_errors=3)

    assert read_engine_state(session).workers[0].storage_errors == 3


def test_newest_sweep_counts_even_if_its_worker_left(session: Session) -> None:
    first, last = make_worker(session), make_worker(session)
    record_sweep(session, first.id, seconds=9)
    record_sweep(session, last.id, seconds=0.25)
    leave(session, last.id)

    sweep = read_engine_state(session).sweep

    assert sweep is not None
    assert sweep.seconds == 0.25
    assert sweep.seconds_ago == pytest.approx(0, abs=5)


def test_pending_deletions_are_as_old_as_the_oldest(session: Session) -> None:
    assert read_engine_state(session).deletions == (0, 0)
    for prefix in ("a/", "b/"):
        deletions.schedule(session, prefix)
    session.flush()
    session.get_one(Deletion, 1).created_at -= timedelta(seconds=100)

    pending, oldest_seconds = read_engine_state(session).deletions

    assert pending == 2
    assert oldest_seconds == pytest.approx(100, abs=5)


def read_orphans_age(session: Session) -> float | None:
    return read_engine_state(session).orphans_collected_seconds_ago


def test_collection_of_orphans_counts_once_it_has_finished(session: Session) -> None:
    installation = Installation(name="inst_a")
    session.add(installation)
    session.flush()
    installation.created_at -= timedelta(days=3)
    session.flush()

    assert claim_collection(session, claimed_at=installation.created_at, interval_hours=24)
    assert read_orphans_age(session) == pytest.approx(3 * 86400, abs=5)

    record_collection(session)
    assert read_orphans_age(session) == pytest.approx(0, abs=5)
