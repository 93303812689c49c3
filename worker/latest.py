"""What a poll shows of a running job: the last value of each metric, and notes as events."""

from typing import NamedTuple

from sqlalchemy.orm import Session

from core import job_records
from core.db.transactions import get_transaction_id, is_committed
from core.runs import claims
from core.runs.types import Claim
from core.trainer_protocol import Metrics, Note
from worker.context import WorkerContext


class _Try(NamedTuple):
    """A transaction with the first lines, whose answer has not come."""

    transaction_id: str
    num_lines: int


class LatestWriter:
    """Gathers what the trainer says; `flush`, in another thread, writes it in one transaction."""

    def __init__(self, context: WorkerContext, held: Claim, job_id: str) -> None:
        self._context = context
        self._held = held
        self._job_id = job_id
        self._lines: list[Metrics | Note] = []
        self._try: _Try | None = None

    def add(self, line: Metrics | Note) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        """A note becomes one event, also when the answer to a commit gets lost."""
        with self._context.transaction() as session:
            claims.guard(session, self._held)  # waits for an earlier try that the database still works on
            self._drop_committed(session)
            lines = list(self._lines)  # more may be added meanwhile
            self._write(session, lines)
            self._try = _Try(get_transaction_id(session), len(lines))
        self._drop(len(lines))

    def _drop_committed(self, session: Session) -> None:
        if self._try is not None and is_committed(session, self._try.transaction_id):
            self._drop(self._try.num_lines)

    def _write(self, session: Session, lines: list[Metrics | Note]) -> None:
        values: dict[str, float] = {}
        for line in lines:
            if isinstance(line, Metrics):
                values |= line.values
            else:
                claims.note(session, self._held, line.code, line.message, level=line.level, details=line.details)
        job_records.record_metrics(session, self._held, self._job_id, values)

    def _drop(self, num_lines: int) -> None:
        del self._lines[:num_lines]
        self._try = None
