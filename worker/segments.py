"""Stores a running job's metrics and log as immutable segments, counted on the attempt's row."""

import time
from datetime import UTC, datetime
from pathlib import Path

from core import job_records
from core.metric_series import MetricRecord, encode_records
from core.runs.types import Claim
from core.storage_keys import log_segment_key, metric_segment_key
from core.trainer_protocol import Metrics
from worker.context import WorkerContext


class SegmentWriter:
    """Gathers in memory; `flush`, in another thread, puts what is new into the store, then counts it in the row."""

    def __init__(self, context: WorkerContext, held: Claim, job_id: str, log_path: Path) -> None:
        self._context = context
        self._held = held
        self._job_id = job_id
        self._log_path = log_path
        self._log_offset = 0
        self._records: list[MetricRecord] = []
        self._metric_segments = 0
        self._log_segments = 0
        self._recorded = (0, 0)
        self._flushed_at = time.monotonic()

    def add(self, metrics: Metrics) -> None:
        self._records.append(
            MetricRecord(at=datetime.now(UTC), step=metrics.step, epoch=metrics.epoch, values=metrics.values)
        )

    def is_due(self) -> bool:
        return time.monotonic() - self._flushed_at > self._context.settings.segment_seconds

    def flush(self) -> None:
        """Counts in the row what an earlier flush could not count either."""
        self._flushed_at = time.monotonic()
        self._store_metrics()
        self._store_log()
        counts = (self._metric_segments, self._log_segments)
        if counts == self._recorded:
            return
        with self._context.transaction() as session:
            job_records.record_segments(session, self._held, metric_segments=counts[0], log_segments=counts[1])
        self._recorded = counts

    def _store_metrics(self) -> None:
        if not self._records:
            return
        records = list(self._records)  # more may be added meanwhile
        key = metric_segment_key(self._job_id, self._held.attempt, self._metric_segments + 1)
        self._context.storage.put_bytes(key, encode_records(records))
        self._metric_segments += 1
        del self._records[: len(records)]

    def _store_log(self) -> None:
        with self._log_path.open("rb") as file:
            file.seek(self._log_offset)
            content = file.read()
        if not content:
            return
        key = log_segment_key(self._job_id, self._held.attempt, self._log_segments + 1)
        self._context.storage.put_bytes(key, content)
        self._log_segments += 1
        self._log_offset += len(content)
