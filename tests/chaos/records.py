"""What the database knows, read past the product; waits while a fault has the database down."""

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from tests.chaos.audit import read_changes, read_writes
from tests.chaos.history import Accepted, Attempt, Change, End, Expectation, Import, Write

PATIENCE_SECONDS = 60.0

Result = TypeVar("Result")


class RunningJob(NamedTuple):
    """A job that a worker holds."""

    job_id: str
    run_id: str
    name: str
    attempt: int
    losses: int
    worker_pid: int
    stage: str | None
    step: int


class Records:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_running(self) -> list[RunningJob]:
        query = """
            select jobs.id, runs.id, jobs.name, runs.attempt, runs.losses, workers.pid,
                   runs.progress->>'stage', coalesce((runs.progress->>'step')::int, 0)
            from runs join jobs on jobs.run_id = runs.id join workers on workers.id = runs.worker_id
            where runs.status = 'running' order by runs.id"""
        return self._read(lambda connection: [RunningJob(*row) for row in connection.execute(text(query))])

    def find_most_losses(self) -> int:
        """Of all jobs that have not ended and are not meant to fail."""
        query = """
            select coalesce(max(runs.losses), 0) from runs join jobs on jobs.run_id = runs.id
            where runs.status in ('queued', 'running', 'paused') and jobs.metadata->>'expects' <> 'poison'"""
        return self._read(lambda connection: int(connection.execute(text(query)).scalar_one()))

    def find_status(self, job_id: str) -> tuple[str, int]:
        """And the attempt."""
        query = "select runs.status, runs.attempt from runs join jobs on jobs.run_id = runs.id where jobs.id = :id"
        return self._read(lambda connection: connection.execute(text(query), {"id": job_id}).one()._tuple())

    def count_open(self) -> int:
        query = "select count(*) from runs where status in ('queued', 'running', 'paused')"
        return self._read(lambda connection: int(connection.execute(text(query)).scalar_one()))

    def list_accepted(self) -> list[Accepted]:
        """All jobs, also those whose 202 no client saw; a job's name tells its variant and what to expect of it."""
        query = "select id, run_id, name, coalesce(metadata->>'expects', 'model') from jobs order by id"
        return self._read(
            lambda connection: [
                Accepted(job_id, run_id, name, _as_expectation(expects))
                for job_id, run_id, name, expects in connection.execute(text(query))
            ]
        )

    def list_ends(self) -> list[End]:
        query = """
            select jobs.id, runs.status, runs.status_reason->>'code',
                   array(select weights_sha256 from models where models.job_id = jobs.id)
            from jobs join runs on runs.id = jobs.run_id order by jobs.id"""
        return self._read(lambda connection: [End(*row) for row in connection.execute(text(query))])

    def find_import(self, dataset_id: str) -> str:
        """The run of it."""
        query = "select run_id from datasets where id = :id"
        return self._read(lambda connection: str(connection.execute(text(query), {"id": dataset_id}).scalar_one()))

    def list_imports(self) -> list[Import]:
        """How each stands."""
        query = """
            select datasets.id, runs.status, datasets.classes
            from datasets join runs on runs.id = datasets.run_id order by datasets.id"""
        return self._read(lambda connection: [Import(*row) for row in connection.execute(text(query))])

    def list_attempts(self) -> list[Attempt]:
        """Of training runs."""
        query = """
            select attempts.run_id, attempts.number, attempts.resumed_from_step
            from attempts join jobs on jobs.run_id = attempts.run_id order by attempts.run_id, attempts.number"""
        return self._read(lambda connection: [Attempt(*row) for row in connection.execute(text(query))])

    def count_deletions(self) -> int:
        """Prefixes that a worker has yet to delete from the store."""
        query = "select count(*) from deletion_outbox"
        return self._read(lambda connection: int(connection.execute(text(query)).scalar_one()))

    def list_changes(self) -> list[Change]:
        return self._read(read_changes)

    def list_writes(self) -> list[Write]:
        return self._read(read_writes)

    def _read(self, read: Callable[[Connection], Result]) -> Result:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._engine.connect() as connection:
                    return read(connection)
            except OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _as_expectation(value: str) -> Expectation:
    match value:
        case "model" | "stop" | "poison" | "any":
            return value
        case _:
            raise ValueError(value)
