"""The heartbeat of a real claim, on the real database."""

from pathlib import Path

from pydantic import BaseModel, PrivateAttr, model_serializer
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.settings import Settings
from tests.conditions import wait_until
from tests.factories import claim_run, make_run
from tests.worker.contexts import make_context
from worker.heartbeat import Heartbeat


class FailsOnce(BaseModel):
    """Progress that the first beat cannot write."""

    _tries: int = PrivateAttr(0)

    @model_serializer
    def serialize(self) -> dict[str, int]:
        self._tries += 1
        if self._tries == 1:
            raise RuntimeError("a bug of ours")
        return {"step": 1}


def test_beat_that_crashes_is_not_the_last(
    session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    run = make_run(session)
    held = claim_run(session)
    session.commit()
    hurried = settings.model_copy(update={"heartbeat_seconds": 0.02})

    def is_written() -> bool:
        session.refresh(run)
        session.rollback()
        return run.progress == {"step": 1}

    with Heartbeat(make_context(hurried, sessions, tmp_path), held) as beat:
        beat.report(FailsOnce())
        wait_until(is_written, seconds=10)
