from datetime import timedelta
from threading import Thread

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Attempt, Run
from core.dispatch import take_pending
from core.runs import claims, lifecycle, sweeps
from core.runs.types import BUDGET, FailureClass, GpuOffer, RunKind, Signal, StatusReason
from core.states import RunStatus
from core.workers import beat_worker, leave
from tests.conditions import wait_until
from tests.factories import LEASE_SECONDS, claim_run, make_run, make_worker

REASON = StatusReason(code="one_class", message="only one class", hint="add another", owner="data")


def test_run_whose_worker_beats_is_left_alone(session: Session) -> None:
    run = make_run(session)
    claim_run(session)

    assert sweeps.lose_expired(session) == 0
    assert session.get_one(Run, run.id, populate_existing=True).status == RunStatus.RUNNING


def test_run_whose_lease_expired_is_queued_again(session: Session) -> None:
    run = make_run(session)
    claim_run(session, lease_seconds=-1)

    assert sweeps.lose_expired(session) == 1

    lost = session.get_one(Run, run.id)
    assert lost.status == RunStatus.QUEUED
    assert lost.failures == {FailureClass.WORKER_LOST: 1}


def test_lease_that_had_not_expired_by_then_is_kept(session: Session) -> None:
    """What was judged before the database hung holds after it."""
    run = make_run(session)
    as_of = beat_worker(session, make_worker(session))
    claim_run(session, lease_seconds=0)

    assert sweeps.lose_expired(session, as_of=as_of) == 0
    assert sweeps.lose_expired(session) == 1
    assert run.status == RunStatus.QUEUED


def test_time_after_the_last_beat_is_no_runtime(session: Session) -> None:
    """Nobody may have swept for an hour: the database was away, or every worker."""
    run = make_run(session)
    run.max_runtime_seconds = 60
    claim_run(session)
    attempt = session.get_one(Attempt, (run.id, 1))
    attempt.started_at -= timedelta(hours=1)
    run.lease_expires_at = attempt.started_at + timedelta(seconds=10)
    session.flush()

    sweeps.lose_expired(session)
    session.refresh(attempt)
    run.run_after = run.created_at

    assert attempt.ended_at == attempt.started_at + timedelta(seconds=10)
    assert claims.beat(session, claim_run(session), lease_seconds=LEASE_SECONDS) is Signal.GO_ON


def lose(session: Session, run: Run, *, after_a_checkpoint: bool) -> None:
    run.run_after = run.created_at
    held = claim_run(session, lease_seconds=-1)
    if after_a_checkpoint:
        claims.forgive_losses(session, held)
    sweeps.lose_expired(session)


def test_run_that_loses_worker_after_worker_is_poison(session: Session) -> None:
    run = make_run(session)
    lose(session, run, after_a_checkpoint=False)
    lose(session, run, after_a_checkpoint=True)  # the one before is forgiven
    lose(session, run, after_a_checkpoint=False)
    assert run.status == RunStatus.QUEUED

    lose(session, run, after_a_checkpoint=False)

    assert run.status == RunStatus.FAILED
    assert run.status_reason is not None
    assert run.status_reason["code"] == "poison"


def test_losses_with_checkpoints_between_them_end_at_the_budget(session: Session) -> None:
    run = make_run(session)
    for _ in range(BUDGET[FailureClass.WORKER_LOST]):
        lose(session, run, after_a_checkpoint=True)
        assert run.status == RunStatus.QUEUED

    lose(session, run, after_a_checkpoint=True)

    assert run.status == RunStatus.FAILED
    assert run.status_reason is not None
    assert run.status_reason["code"] == "worker_lost"


def test_run_that_should_pause_and_loses_its_worker_is_paused(session: Session) -> None:
    run = make_run(session)
    claim_run(session, lease_seconds=-1)
    lifecycle.request_pause(session, run.id)

    sweeps.lose_expired(session)

    assert run.status == RunStatus.PAUSED


def make_patient_run(session: Session, gpus: int) -> Run:
    run = make_run(session, gpus=gpus)
    run.queued_at -= timedelta(seconds=100)
    session.flush()
    return run


def test_smallest_fitting_worker_is_reserved_for_a_run_that_was_passed_too_long(session: Session) -> None:
    make_worker(session, gpus=2)
    fitting = make_worker(session, gpus=4)
    make_worker(session, gpus=8)
    run = make_patient_run(session, gpus=4)

    sweeps.reserve_workers(session, after_seconds=50)

    assert run.reserved_worker_id == fitting.id


def test_time_of_the_import_does_not_count_as_being_passed(session: Session) -> None:
    make_worker(session, gpus=4)
    awaited = make_run(session, kind=RunKind.IMPORT)
    run = make_run(session, project_id=awaited.project_id, waits_for=awaited, gpus=4)
    run.queued_at -= timedelta(seconds=100)
    claims.succeed(session, claim_run(session, queue="imports"))

    sweeps.reserve_workers(session, after_seconds=50)
    assert run.reserved_worker_id is None

    sweeps.reserve_workers(session, after_seconds=0)
    assert session.get_one(Run, run.id, populate_existing=True).reserved_worker_id is not None


def test_each_run_has_a_reserved_worker_of_its_own(session: Session) -> None:
    worker = make_worker(session, gpus=4)
    first, second = make_patient_run(session, gpus=4), make_patient_run(session, gpus=4)

    sweeps.reserve_workers(session, after_seconds=50)

    assert (first.reserved_worker_id, second.reserved_worker_id) == (worker.id, None)


def test_worker_that_left_is_not_kept_reserved(session: Session) -> None:
    run = make_patient_run(session, gpus=4)
    run.reserved_worker_id = make_worker(session, gpus=4).id
    leave(session, run.reserved_worker_id)
    other = make_worker(session, gpus=4)

    sweeps.reserve_workers(session, after_seconds=50)

    assert run.reserved_worker_id == other.id


def test_run_that_is_claimed_meanwhile_is_not_reserved(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        run_id = make_patient_run(session, gpus=4).id
        make_worker(session, gpus=4)

    def reserve() -> None:
        with sessions.begin() as session:
            sweeps.reserve_workers(session, after_seconds=50)

    sweep = Thread(target=reserve)
    with sessions.begin() as session:
        held = claims.claim(
            session, queue="train", worker_id="worker_a", lease_seconds=30, gpus=GpuOffer(free=4, total=4)
        )
        assert held is not None
        sweep.start()
        wait_until(lambda: waits_for_a_lock(sessions), seconds=5)
    sweep.join()

    with sessions() as session:
        assert session.get_one(Run, run_id).reserved_worker_id is None


def waits_for_a_lock(sessions: SessionFactory) -> bool:
    with sessions() as session:
        return bool(session.scalar(text("select count(*) from pg_locks where not granted")))


@pytest.mark.parametrize(("gpus", "after_seconds"), [(1, 50), (4, 200)])
def test_small_or_fresh_runs_reserve_nothing(session: Session, gpus: int, after_seconds: float) -> None:
    make_worker(session, gpus=4)
    run = make_patient_run(session, gpus=gpus)

    sweeps.reserve_workers(session, after_seconds=after_seconds)

    assert run.reserved_worker_id is None


def test_cancelled_run_whose_worker_is_lost_is_cancelled(session: Session) -> None:
    run = make_run(session)
    claim_run(session, lease_seconds=-1)
    lifecycle.request_cancel(session, run.id)

    sweeps.lose_expired(session)

    assert session.get_one(Run, run.id).status == RunStatus.CANCELLED


def test_job_of_a_failed_import_fails_with_its_reason(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    waiting = make_run(session, project_id=awaited.project_id, waits_for=awaited)
    claims.fail(session, claim_run(session, queue="imports"), FailureClass.USER, REASON)

    sweeps.fail_hopeless(session)

    failed = session.get_one(Run, waiting.id)
    assert failed.status == RunStatus.FAILED
    assert failed.status_reason is not None
    assert "only one class" in failed.status_reason["message"]


def test_run_that_waited_too_long_fails(session: Session) -> None:
    run = make_run(session)
    run.max_queue_seconds = -1
    session.flush()

    sweeps.fail_hopeless(session)

    assert session.get_one(Run, run.id).status_reason == {
        "code": "queued_too_long",
        "message": "it did not start within its `max_queue_seconds`",
        "hint": "start more workers, or raise `max_queue_seconds`: the import of its dataset counts too",
        "owner": "system",
        "retryable": True,
    }


def make_old_run(session: Session, *, waits_for: Run | None = None, kind: RunKind = RunKind.TRAIN) -> Run:
    """Its hint was sent a hundred seconds ago."""
    project_id = None if waits_for is None else waits_for.project_id
    run = make_run(session, kind=kind, project_id=project_id, waits_for=waits_for)
    run.hinted_at -= timedelta(seconds=100)
    session.flush()
    take_pending(session)
    return run


def hint_again(session: Session) -> set[str]:
    sweeps.hint_again(session, older_than_seconds=30)
    return take_pending(session)


def test_queue_with_a_claimable_run_is_hinted_again_once_in_a_while(session: Session) -> None:
    for _ in range(3):
        make_old_run(session)

    assert hint_again(session) == {"train"}
    assert hint_again(session) == set()


def test_each_queue_is_hinted_by_itself(session: Session) -> None:
    make_old_run(session)
    make_old_run(session, kind=RunKind.IMPORT)

    assert hint_again(session) == {"train", "imports"}


def test_fresh_hint_counts_for_its_whole_queue(session: Session) -> None:
    make_old_run(session)
    make_run(session)
    take_pending(session)

    assert hint_again(session) == set()


def test_runs_that_cannot_start_are_not_hinted_for(session: Session) -> None:
    awaited = make_old_run(session, kind=RunKind.IMPORT)
    claim_run(session, queue="imports")
    make_old_run(session, waits_for=awaited)
    make_old_run(session).run_after += timedelta(minutes=1)
    session.flush()

    assert hint_again(session) == set()
