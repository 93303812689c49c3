"""Who is watched is stopped in time."""

from pathlib import Path

from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.runs.types import FailureClass
from core.settings import Settings
from tests.conditions import wait_until
from tests.core.training.jobs import VANILLA, make_job, make_spec
from tests.factories import claim_run, make_run
from tests.worker.contexts import make_context
from worker.heartbeat import Heartbeat
from worker.outcomes import describe_stall
from worker.supervision import attended
from worker.trainer_process import TrainerProcess


def test_trainer_that_says_nothing_is_killed(
    session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    make_run(session)
    held = claim_run(session)
    session.commit()
    context = make_context(settings.model_copy(update={"stall_seconds": 0.2}), sessions, tmp_path)
    job = make_job(tmp_path, make_spec(VANILLA))
    process = TrainerProcess(tmp_path, job, devices=[], on_progress=lambda _: None)

    with Heartbeat(context, held) as beat, attended(process, context, beat):
        wait_until(lambda: not process.is_alive(), seconds=10)  # before it can say its first word

    assert process.has_stalled
    assert describe_stall(0.2).failure is FailureClass.CRASH
