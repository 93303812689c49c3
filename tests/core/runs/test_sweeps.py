from sqlalchemy.orm import Session

from core.db.tables import Run
from core.dispatch import take_pending
from core.runs import claims, lifecycle, sweeps
from core.runs.types import BUDGET, FailureClass, RunKind, StatusReason
from core.states import RunStatus
from tests.factories import claim_run, make_run

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


def test_run_that_loses_every_worker_fails(session: Session) -> None:
    run = make_run(session)
    for _ in range(BUDGET[FailureClass.WORKER_LOST] + 1):
        run.run_after = run.created_at
        claim_run(session, lease_seconds=-1)
        sweeps.lose_expired(session)

    assert session.get_one(Run, run.id).status == RunStatus.FAILED


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
        "message": "no worker took it in time",
        "hint": "start more workers",
        "owner": "system",
        "retryable": True,
    }


def test_queued_run_is_hinted_again(session: Session) -> None:
    make_run(session)
    take_pending(session)

    sweeps.hint_again(session, older_than_seconds=-1)

    assert take_pending(session) == {"train"}


def test_fresh_hint_is_not_repeated(session: Session) -> None:
    make_run(session)
    take_pending(session)

    sweeps.hint_again(session, older_than_seconds=30)

    assert take_pending(session) == set()
