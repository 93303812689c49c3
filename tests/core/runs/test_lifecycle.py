import pytest
from sqlalchemy.orm import Session

from core.db.tables import Run
from core.errors import ConflictError
from core.runs import claims, lifecycle
from core.runs.types import Signal
from core.states import RunStatus
from tests.factories import claim_run, make_run


def test_queued_run_is_cancelled_at_once(session: Session) -> None:
    run = make_run(session)

    lifecycle.request_cancel(session, run.id)

    assert session.get_one(Run, run.id).status == RunStatus.CANCELLED


def test_running_run_is_flagged(session: Session) -> None:
    run = make_run(session)
    claim_run(session)

    lifecycle.request_cancel(session, run.id)

    flagged = session.get_one(Run, run.id)
    assert flagged.status == RunStatus.RUNNING
    assert lifecycle.shown_status(flagged) == "cancelling"


def test_cancelling_twice_adds_one_event(session: Session) -> None:
    run = make_run(session)
    claim_run(session)
    for _ in range(2):
        lifecycle.request_cancel(session, run.id)

    types = [event.type for event in lifecycle.list_events(session, run.id, after=0, limit=10)]
    assert types == ["queued", "started", "cancel_requested"]


def test_finished_run_cannot_be_cancelled(session: Session) -> None:
    run = make_run(session)
    claims.succeed(session, claim_run(session))

    with pytest.raises(ConflictError, match="succeeded"):
        lifecycle.request_cancel(session, run.id)


def test_paused_run_is_queued_again_by_resume(session: Session) -> None:
    run = make_run(session)
    held = claim_run(session)
    lifecycle.request_pause(session, run.id)
    assert lifecycle.shown_status(run) == "pausing"
    assert claims.beat(session, held, lease_seconds=30) is Signal.PAUSE
    claims.stop_paused(session, held)
    assert run.status == RunStatus.PAUSED

    lifecycle.resume(session, run.id)

    assert claim_run(session).attempt == 2
    types = [event.type for event in lifecycle.list_events(session, run.id, after=0, limit=10)]
    assert types == ["queued", "started", "pause_requested", "paused", "queued", "started"]


def test_cancel_goes_before_pause(session: Session) -> None:
    run = make_run(session)
    held = claim_run(session)
    lifecycle.request_pause(session, run.id)
    lifecycle.request_cancel(session, run.id)

    assert claims.beat(session, held, lease_seconds=30) is Signal.CANCEL
    with pytest.raises(ConflictError, match="being cancelled"):
        lifecycle.request_pause(session, run.id)


def test_run_that_was_not_paused_cannot_be_resumed(session: Session) -> None:
    with pytest.raises(ConflictError, match="queued"):
        lifecycle.resume(session, make_run(session).id)


def test_events_count_without_gaps(session: Session) -> None:
    run = make_run(session)
    held = claim_run(session)
    for number in range(3):
        claims.note(session, held, "note", str(number))
    claims.succeed(session, held)

    events = lifecycle.list_events(session, run.id, after=0, limit=100)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]


def test_events_page_by_their_number(session: Session) -> None:
    run = make_run(session)
    claim_run(session)

    assert [event.type for event in lifecycle.list_events(session, run.id, after=1, limit=10)] == ["started"]
