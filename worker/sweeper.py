"""Sweeps what lost its worker, its hint or its hope. A thread in every worker; one of them leads at a time."""

import threading
import time
from datetime import datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.datasets import forget_sources
from core.db.session import DATABASE_OUTAGES
from core.runs import sweeps
from core.workers import beat_worker, forget_old_workers, record_sweep
from worker.context import WorkerContext
from worker.registration import describe_worker

log = structlog.get_logger()

ADVISORY_LOCK = 0x62697475  # "bitu"


class Sweeper:
    """Nothing expires before the database and this sweeper's contact with it are one lease old.

    A gap between two rounds ends the contact: the database hung, or this process was stopped, and so may the beats
    of healthy runs have been. What expires is judged as of the contact: it may hang again right after.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper")
        self._contact_since: float | None = None
        self._contact_until = 0.0
        self._as_of: datetime | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def sweep(self) -> None:
        """One round; public so that a test can run rounds by hand."""
        worker = describe_worker(self._context)
        with self._context.transaction() as session:
            self._note_contact(beat_worker(session, worker, storage_errors=self._context.storage.num_errors))
        started = time.monotonic()
        with self._context.transaction() as session:
            if session.scalar(select(func.pg_try_advisory_xact_lock(ADVISORY_LOCK))):
                self._sweep_runs(session)
                forget_sources(session)
                forget_old_workers(session)
                record_sweep(session, worker.id, seconds=time.monotonic() - started)

    def _run(self) -> None:
        while not self._ended.wait(self._context.settings.sweep_seconds):
            try:
                self.sweep()
            except DATABASE_OUTAGES as exc:
                self._contact_since = None
                log.warning("sweep_failed", error=type(exc).__name__)
            except Exception:
                log.exception("sweep_crashed")

    def _sweep_runs(self, session: Session) -> None:
        if self._contact_is_old(session):
            lost = sweeps.lose_expired(session, as_of=self._as_of)
            if lost:
                log.warning("runs_lost", count=lost)
        sweeps.fail_hopeless(session)
        sweeps.reserve_workers(session, after_seconds=self._context.settings.reserve_after_seconds)
        sweeps.hint_again(session, older_than_seconds=self._context.settings.look_seconds)

    def _note_contact(self, as_of: datetime) -> None:
        """The database has just answered, and told its time."""
        settings = self._context.settings
        longest_gap = max(settings.lease_seconds / 2, 3 * settings.sweep_seconds)
        answered = time.monotonic()
        if self._contact_since is None or answered - self._contact_until > longest_gap:
            self._contact_since = answered
        self._contact_until, self._as_of = answered, as_of

    def _contact_is_old(self, session: Session) -> bool:
        lease = self._context.settings.lease_seconds
        is_long = self._contact_since is not None and self._contact_until - self._contact_since >= lease
        return is_long and not sweeps.database_is_young(session, seconds=lease)
