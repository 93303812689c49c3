"""Deletes from the store what has to go. A thread in every worker, apart from the sweep: a store may hang."""

import threading

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core import deletions
from core.db.tables import Deletion
from core.errors import ConflictError
from core.installation import claim_bucket, claim_collection
from core.orphans import MIN_AGE_HOURS, delete_orphan, find_orphans
from core.storage_errors import StorageUnavailableError
from worker.context import WorkerContext

log = structlog.get_logger()

CLOSE_SECONDS = 5.0  # after which a deletion is left to another worker


class Collector:
    """The outbox in every round; orphans once in `orphan_interval_hours`, by one worker of all."""

    def __init__(self, context: WorkerContext, *, min_age_hours: float = MIN_AGE_HOURS) -> None:
        self._context = context
        self._min_age_hours = min_age_hours
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(CLOSE_SECONDS)

    def collect(self) -> None:
        """One round; public so that a test can run rounds by hand."""
        while not self._ended.is_set():
            with self._context.transaction() as session:
                deletion = deletions.take_due(session)
            if deletion is None:
                break
            self._delete(deletion)
        if self._orphans_are_due():
            self._collect_orphans()

    def _run(self) -> None:
        while not self._ended.wait(self._context.settings.sweep_seconds):
            try:
                self.collect()
            except (StorageUnavailableError, OperationalError, PoolTimeoutError) as exc:
                log.warning("collection_failed", error=type(exc).__name__)
            except Exception:
                log.exception("collection_crashed")

    def _delete(self, deletion: Deletion) -> None:
        try:
            count = self._context.storage.delete_prefix(deletion.prefix)
        except StorageUnavailableError as exc:
            log.warning("deletion_failed", prefix=deletion.prefix, tries=deletion.tries, error=exc.message)
            return
        with self._context.transaction() as session:
            deletions.settle(session, deletion.id)
        log.info("prefix_deleted", prefix=deletion.prefix, objects=count)

    def _orphans_are_due(self) -> bool:
        interval_hours = self._context.settings.orphan_interval_hours
        if interval_hours == 0:
            return False
        with self._context.transaction() as session:
            return claim_collection(session, interval_hours=interval_hours)

    def _collect_orphans(self) -> None:
        storage = self._context.storage
        try:
            claim_bucket(storage, self._context.sessions)
        except ConflictError as exc:
            log.error("orphans_not_collected", code=exc.code, error=exc.message, hint=exc.hint)
            return
        for orphan in find_orphans(storage, self._context.sessions, min_age_hours=self._min_age_hours):
            if self._ended.is_set():
                return
            delete_orphan(storage, orphan)
            log.info("orphan_deleted", prefix=orphan.prefix, objects=len(orphan.keys), uploads=len(orphan.uploads))
