from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Job, RunEvent
from core.settings import Settings
from core.trainer_protocol import Metrics, Note
from tests.factories import claim_run, make_dataset, make_job, make_project
from tests.worker.contexts import make_context
from tests.worker.outages import LostAnswer, RefusedCommit
from worker.latest import LatestWriter

FIRST = Note(level="info", code="first", message="one")
SECOND = Note(level="info", code="second", message="two")


@pytest.fixture
def job(session: Session) -> Job:
    project_id = make_project(session)
    return make_job(session, project_id=project_id, dataset=make_dataset(session, project_id=project_id))


@pytest.fixture
def writer(job: Job, session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path) -> LatestWriter:
    held = claim_run(session)
    session.commit()
    writer = LatestWriter(make_context(settings, sessions, tmp_path), held, job.id)
    writer.add(Metrics(step=1, epoch=1, values={"train_loss": 1.0}))
    writer.add(FIRST)
    return writer


def list_notes(session: Session) -> list[str]:
    query = select(RunEvent.type).where(RunEvent.type.in_(["first", "second"])).order_by(RunEvent.seq)
    return list(session.scalars(query))


def test_note_is_one_event_when_the_answer_to_its_commit_gets_lost(
    writer: LatestWriter, job: Job, session: Session, sessions: SessionFactory
) -> None:
    LostAnswer(sessions)
    with pytest.raises(OperationalError):
        writer.flush()
    writer.add(SECOND)

    writer.flush()
    writer.flush()

    assert list_notes(session) == ["first", "second"]
    session.refresh(job)
    assert job.metrics == {"train_loss": 1.0}


def test_note_whose_commit_failed_is_written_later(
    writer: LatestWriter, session: Session, sessions: SessionFactory
) -> None:
    refused = RefusedCommit(sessions, "first")
    with pytest.raises(OperationalError):
        writer.flush()

    writer.flush()

    assert refused.happened
    assert list_notes(session) == ["first"]
