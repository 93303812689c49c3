"""What a poll shows of a running job: the last value of each metric, and notes as events."""

from core import jobs
from core.runs import claims
from core.runs.types import Claim
from core.trainer_protocol import Metrics, Note
from worker.context import WorkerContext


class LatestWriter:
    """Gathers what the trainer says; `flush`, in another thread, writes it in one transaction."""

    def __init__(self, context: WorkerContext, held: Claim, job_id: str) -> None:
        self._context = context
        self._held = held
        self._job_id = job_id
        self._lines: list[Metrics | Note] = []

    def add(self, line: Metrics | Note) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        lines = list(self._lines)  # more may be added meanwhile
        values: dict[str, float] = {}
        for line in lines:
            values |= line.values if isinstance(line, Metrics) else {}
        with self._context.transaction() as session:
            jobs.record_metrics(session, self._held, self._job_id, values)
            for line in lines:
                if isinstance(line, Note):
                    claims.note(session, self._held, line.code, line.message, level=line.level, details=line.details)
        del self._lines[: len(lines)]
