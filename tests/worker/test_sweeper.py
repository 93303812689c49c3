"""Rounds of the sweeper by hand, on the real database."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Worker
from core.settings import Settings
from core.storage import StorageUnavailableError
from tests.factories import make_worker
from tests.worker.contexts import make_context
from worker.sweeper import ADVISORY_LOCK, Sweeper


@pytest.fixture
def worker(session: Session) -> Worker:
    worker = make_worker(session)
    session.commit()
    return worker


def test_round_that_leads_is_recorded(
    worker: Worker, session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    Sweeper(make_context(settings, sessions, tmp_path, worker_id=worker.id)).sweep()

    session.refresh(worker)
    assert worker.swept_at is not None
    assert worker.sweep_seconds is not None
    assert 0 < worker.sweep_seconds < 10


def test_round_that_does_not_lead_beats_alone(
    worker: Worker, session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    beat_at = worker.heartbeat_at
    with sessions.begin() as leader:
        leader.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
        Sweeper(make_context(settings, sessions, tmp_path, worker_id=worker.id)).sweep()

    session.refresh(worker)
    assert worker.swept_at is None
    assert worker.heartbeat_at > beat_at


def test_beat_carries_the_errors_of_the_store(
    worker: Worker, session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    away = settings.model_copy(update={"s3_secret_access_key": SecretStr("wrong")})
    context = make_context(away, sessions, tmp_path, worker_id=worker.id)
    with pytest.raises(StorageUnavailableError):
        context.storage.get_bytes("any")

    Sweeper(context).sweep()

    session.refresh(worker)
    assert worker.storage_errors == 1
