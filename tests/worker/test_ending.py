"""How long an attempt may still wait once it has to end."""

from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.runs.types import Signal
from core.settings import Settings
from tests.conditions import wait_until
from tests.factories import claim_run, make_run
from tests.worker.contexts import make_context
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat


@pytest.fixture
def context(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> WorkerContext:
    return make_context(settings.model_copy(update={"handback_grace_seconds": 0.3}), sessions, tmp_path)


@pytest.fixture
def beat(context: WorkerContext, session: Session) -> Heartbeat:
    """One that has not begun."""
    make_run(session)
    return Heartbeat(context, claim_run(session))


def pass_grace(context: WorkerContext) -> None:
    wait_until(lambda: context.stopping.seconds > context.settings.handback_grace_seconds, seconds=5)


def test_grace_counts_from_when_the_worker_was_told_to_stop(context: WorkerContext, beat: Heartbeat) -> None:
    """Not from when somebody asked first: the trainer has had its share of it already."""
    ending = Ending(context, beat)
    context.stopping.set()
    pass_grace(context)

    assert ending.is_overdue()


def test_last_write_may_take_the_grace_of_its_worker_and_no_more(context: WorkerContext, beat: Heartbeat) -> None:
    ending = Ending(context, beat)
    context.stopping.set()
    assert not ending.must_leave()

    pass_grace(context)

    assert ending.must_leave()


def test_last_write_of_a_run_that_was_asked_to_end_has_all_the_time(context: WorkerContext, beat: Heartbeat) -> None:
    beat.why = Signal.CANCEL
    beat.stop.set()

    assert Ending(context, beat).is_overdue()
    assert not Ending(context, beat).must_leave()
