"""Rounds of the sweeper by hand, on the real database."""

import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Run, Worker
from core.settings import Settings
from core.states import RunStatus
from core.storage_errors import StorageUnavailableError
from core.workers import list_online
from tests.conditions import wait_until
from tests.factories import claim_run, make_run, make_worker
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


def test_worker_that_was_forgotten_registers_again(
    worker: Worker, session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    """As after a day's sleep of its host."""
    session.delete(worker)
    session.commit()
    slots = settings.model_copy(update={"worker_slots": 3})

    Sweeper(make_context(slots, sessions, tmp_path, worker_id=worker.id)).sweep()

    assert [(row.id, row.queue, row.slots) for row in list_online(session)] == [(worker.id, "train", 3)]


class Rounds:
    """Of a sweeper with a lease of a second, over one run whose worker has stopped beating."""

    def __init__(self, sweeper: Sweeper, session: Session, run: Run) -> None:
        self._sweeper = sweeper
        self._session = session
        self._run = run

    def sweep(self) -> bool:
        """Whether the run is lost by now."""
        self._sweeper.sweep()
        self._session.refresh(self._run)
        return self._run.status == RunStatus.QUEUED

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        wait_until(lambda: time.monotonic() > end, seconds=seconds + 1)


@pytest.fixture
def rounds(session: Session, settings: Settings, sessions: SessionFactory, tmp_path: Path) -> Rounds:
    run = make_run(session)
    claim_run(session, lease_seconds=-1)
    session.commit()
    hurried = settings.model_copy(update={"lease_seconds": 1.0, "sweep_seconds": 0.1})
    return Rounds(Sweeper(make_context(hurried, sessions, tmp_path)), session, run)


def test_run_is_lost_once_the_contact_is_a_lease_old(rounds: Rounds) -> None:
    assert not rounds.sweep()

    wait_until(rounds.sweep, seconds=5)


def test_gap_between_rounds_ends_the_contact(rounds: Rounds) -> None:
    """As when the database hangs: no beat of a healthy run could have been written either."""
    rounds.sweep()

    rounds.wait(1.5)

    assert not rounds.sweep()
    wait_until(rounds.sweep, seconds=5)
