from datetime import timedelta

from sqlalchemy.orm import Session

from core.db.tables import Run
from core.runs import claims
from core.runs.types import FailureClass, RunKind, StatusReason
from core.runs.waiting import explain_wait
from core.workers import leave
from tests.factories import claim_run, make_run, make_worker


def find_reason(session: Session, run: Run) -> str:
    wait = explain_wait(session, run)
    assert wait is not None
    return wait.reason


def test_position_counts_those_that_go_first(session: Session) -> None:
    first, second, urgent = make_run(session), make_run(session), make_run(session, kind=RunKind.PROBE)
    make_run(session, kind=RunKind.IMPORT)

    positions = [wait.position for run in (first, second, urgent) if (wait := explain_wait(session, run)) is not None]

    assert positions == [2, 3, 1]


def test_run_that_runs_waits_for_nothing(session: Session) -> None:
    run = make_run(session)
    claim_run(session)

    assert explain_wait(session, session.get_one(Run, run.id, populate_existing=True)) is None


def test_import_is_waited_for_first(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    run = make_run(session, project_id=awaited.project_id, waits_for=awaited)

    assert find_reason(session, run) == "the dataset is being imported"


def test_import_that_is_tried_again_says_why_and_when(session: Session) -> None:
    awaited = make_run(session, kind=RunKind.IMPORT)
    run = make_run(session, project_id=awaited.project_id, waits_for=awaited)
    held = claim_run(session, queue="imports")

    reason = StatusReason(code="url_unreachable", message="no server answers", owner="user")
    claims.fail(session, held, FailureClass.FETCH, reason)

    expected = "the dataset could not be imported yet (no server answers): the next attempt starts in "
    assert find_reason(session, run).startswith(expected)


def test_no_worker_is_said_as_it_is(session: Session) -> None:
    leave(session, make_worker(session).id)
    make_worker(session, queue="imports")

    assert find_reason(session, make_run(session)) == "no worker is online"


def test_too_small_workers_are_said_with_the_number(session: Session) -> None:
    make_worker(session, gpus=2)

    assert find_reason(session, make_run(session, gpus=4)) == "no worker with 4 GPUs is online"


def test_reserved_worker_is_said(session: Session) -> None:
    run = make_run(session, gpus=4)
    run.reserved_worker_id = make_worker(session, gpus=4).id

    assert find_reason(session, run) == "a worker takes no other job until it has 4 free GPUs"


def test_rest_is_said_without_blame(session: Session) -> None:
    make_worker(session)
    run = make_run(session)
    claims.hand_back(session, claim_run(session), "no store", delay_seconds=30)
    session.refresh(run)

    assert find_reason(session, run).startswith("rests after its last attempt (no store): the next attempt starts in ")


def test_busy_workers_are_counted(session: Session) -> None:
    make_worker(session, gpus=4)
    run, large = make_run(session), make_run(session, gpus=4)
    run.run_after -= timedelta(seconds=1)

    assert find_reason(session, run) == "waits for a free worker (1 online)"
    assert find_reason(session, large) == "waits for 4 free GPUs on one worker (1 online)"
