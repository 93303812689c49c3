"""Deletes from the store what has to go. A thread in every worker, apart from the sweep: a store may hang."""

import threading
import time
from datetime import datetime

import structlog

from core import deletions, uploads
from core.db.session import DATABASE_OUTAGES
from core.db.tables import Deletion
from core.errors import ConflictError
from core.installation import claim_bucket, claim_collection, record_collection
from core.orphans import MIN_AGE_HOURS, delete_orphan, find_orphans
from core.storage_errors import ObjectMissingError, StorageUnavailableError
from worker.context import WorkerContext

log = structlog.get_logger()

CLOSE_SECONDS = 5.0  # after which a deletion is left to another worker
REFUSED_SECONDS = 600.0  # between two tries to claim a bucket that belongs to another database


class Collector:
    """Expired uploads and the outbox in every round; orphans once in `orphan_interval_hours`, by one worker of all.

    The bucket is claimed as soon as the store answers, also where orphans are never collected. They are left alone
    for one interval from then on: whoever names the wrong database has time to notice.
    """

    def __init__(self, context: WorkerContext, *, min_age_hours: float = MIN_AGE_HOURS) -> None:
        self._context = context
        self._min_age_hours = min_age_hours
        self._claimed_at: datetime | None = None
        self._claim_after = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(CLOSE_SECONDS)

    def collect(self) -> None:
        """One round; public so that a test can run rounds by hand."""
        self._expire_uploads()
        self._empty_outbox()
        if self._claimed_at is None and time.monotonic() >= self._claim_after:
            self._claim_bucket()
        if self._claimed_at is not None and self._orphans_are_due(self._claimed_at):
            self._collect_orphans()

    def _expire_uploads(self) -> None:
        """Rows now; their objects and parts go by the outbox."""
        while not self._ended.is_set():
            with self._context.transaction() as session:
                expired = uploads.expire_uploads(session)
            if not expired:
                return
            log.info("uploads_expired", upload_ids=expired)

    def _empty_outbox(self) -> None:
        while not self._ended.is_set():
            with self._context.transaction() as session:
                deletion = deletions.take_due(session)
            if deletion is None:
                return
            self._delete(deletion)

    def _run(self) -> None:
        while not self._ended.wait(self._context.settings.sweep_seconds):
            try:
                self.collect()
            except (StorageUnavailableError, *DATABASE_OUTAGES) as exc:
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

    def _claim_bucket(self) -> None:
        self._claimed_at = None
        try:
            self._claimed_at = claim_bucket(self._context.storage, self._context.sessions)
        except ConflictError as exc:
            self._claim_after = time.monotonic() + REFUSED_SECONDS
            log.error("orphans_not_collected", code=exc.code, error=exc.message, hint=exc.hint)
        except (StorageUnavailableError, ObjectMissingError) as exc:
            log.warning("bucket_not_claimed", error=exc.message)

    def _orphans_are_due(self, claimed_at: datetime) -> bool:
        interval_hours = self._context.settings.orphan_interval_hours
        if interval_hours == 0:
            return False
        with self._context.transaction() as session:
            return claim_collection(session, claimed_at=claimed_at, interval_hours=interval_hours)

    def _collect_orphans(self) -> None:
        """The bucket may have got another owner since it was claimed; then it is left alone again."""
        known = self._claimed_at
        self._claim_bucket()
        if self._claimed_at != known:
            return
        self._delete_orphans()
        if not self._ended.is_set():
            with self._context.transaction() as session:
                record_collection(session)

    def _delete_orphans(self) -> None:
        storage = self._context.storage
        for orphan in find_orphans(storage, self._context.sessions, min_age_hours=self._min_age_hours):
            if self._ended.is_set():
                return
            delete_orphan(storage, orphan)
            log.info("orphan_deleted", prefix=orphan.prefix, objects=len(orphan.keys), uploads=len(orphan.uploads))
