"""Sweeps what lost its worker, its hint or its hope. A thread in every worker; one of them leads at a time."""

import threading
import time

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from core import deletions
from core.runs import sweeps
from core.storage import StorageUnavailableError
from core.workers import beat_worker, forget_old_workers
from worker.context import WorkerContext

log = structlog.get_logger()

ADVISORY_LOCK = 0x62697475  # "bitu"


class Sweeper:
    """Nothing expires before the database and this sweeper's contact with it are one lease old."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper")
        self._contact_since: float | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def sweep(self) -> None:
        """One round; public so that a test can run rounds by hand."""
        with self._context.transaction() as session:
            beat_worker(session, self._context.worker_id)
            leads = bool(session.scalar(select(func.pg_try_advisory_xact_lock(ADVISORY_LOCK))))
            if leads:
                self._sweep_runs(session)
                forget_old_workers(session)
        if leads:
            self._delete_scheduled()

    def _run(self) -> None:
        while not self._ended.wait(self._context.settings.sweep_seconds):
            try:
                self.sweep()
            except (OperationalError, PoolTimeoutError) as exc:
                self._contact_since = None
                log.warning("sweep_failed", error=type(exc).__name__)
            except StorageUnavailableError as exc:
                log.warning("deletion_failed", error=exc.message)
            except Exception:
                log.exception("sweep_crashed")

    def _sweep_runs(self, session: Session) -> None:
        if self._contact_is_old(session):
            lost = sweeps.lose_expired(session)
            if lost:
                log.warning("runs_lost", count=lost)
        sweeps.fail_hopeless(session)
        sweeps.reserve_workers(session, after_seconds=self._context.settings.reserve_after_seconds)
        sweeps.hint_again(session, older_than_seconds=self._context.settings.look_seconds)

    def _contact_is_old(self, session: Session) -> bool:
        lease = self._context.settings.lease_seconds
        now = time.monotonic()
        self._contact_since = self._contact_since or now
        return now - self._contact_since >= lease and not sweeps.database_is_young(session, seconds=lease)

    def _delete_scheduled(self) -> None:
        with self._context.transaction() as session:
            due = deletions.take_due(session)
        for deletion in due:
            count = self._context.storage.delete_prefix(deletion.prefix)
            with self._context.transaction() as session:
                deletions.settle(session, deletion.id)
            log.info("prefix_deleted", prefix=deletion.prefix, objects=count)
