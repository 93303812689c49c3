"""The metric series and the log of a job: immutable segments in the store, one prefix an attempt."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter

from core.storage import Storage
from core.storage_keys import log_segment_key, metric_segment_key


class MetricRecord(BaseModel):
    """What the trainer said at one step, stamped by the worker."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    step: int
    epoch: int
    values: dict[str, float]


class AttemptSegments(NamedTuple):
    """Where an attempt's segments are, and where it began."""

    number: int
    resumed_from_step: int | None
    metric_segments: int
    log_segments: int


_RECORD = TypeAdapter(MetricRecord)


def encode_records(records: list[MetricRecord]) -> bytes:
    return b"".join(record.model_dump_json().encode() + b"\n" for record in records)


def read_series(storage: Storage, job_id: str, attempts: list[AttemptSegments]) -> list[MetricRecord]:
    """All attempts as one series: each is cut where a later one resumed, so no step comes twice."""
    series: list[MetricRecord] = []
    for attempt in attempts:
        if not attempt.metric_segments:
            continue
        begin = attempt.resumed_from_step or 0
        series = [record for record in series if record.step <= begin]
        series.extend(_read_attempt(storage, job_id, attempt))
    return series


def read_log(storage: Storage, job_id: str, attempts: list[AttemptSegments]) -> Iterator[bytes]:
    for attempt in attempts:
        for number in range(1, attempt.log_segments + 1):
            yield storage.get_bytes(log_segment_key(job_id, attempt.number, number))


def _read_attempt(storage: Storage, job_id: str, attempt: AttemptSegments) -> Iterator[MetricRecord]:
    for number in range(1, attempt.metric_segments + 1):
        content = storage.get_bytes(metric_segment_key(job_id, attempt.number, number))
        yield from (_RECORD.validate_json(line) for line in content.splitlines())
