"""A worker process whose trainer does nothing: the real claim, the real end, each in a transaction of its own."""

import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, text

from core.db.session import SessionFactory, make_engine, make_session_factory
from core.runs import claims
from core.runs.types import Claim, GpuOffer

LEASE_SECONDS = 30.0
ONE_GPU = GpuOffer(free=1, total=1)


class Shift(NamedTuple):
    """What one worker did; times are of a clock that all processes share."""

    began_at: float
    ended_at: float
    claim_seconds: list[float]
    database_cpu_seconds: float  # that PostgreSQL's process for this worker computed


def work_until_empty(database_url: str, worker_id: str, start: Barrier, result: Connection) -> None:
    """The target of a process: connects, waits for the others, and sends its shift when nothing is left."""
    engine = make_engine(database_url)
    database_pid = _find_database_pid(engine)
    start.wait()
    cpu_before = _read_cpu_seconds(database_pid)
    began_at = time.monotonic()
    claim_seconds = _drain(make_session_factory(engine), worker_id)
    ended_at = time.monotonic()
    cpu_seconds = _read_cpu_seconds(database_pid) - cpu_before
    assert _find_database_pid(engine) == database_pid, "the worker has changed its connection"
    engine.dispose()
    result.send(Shift(began_at, ended_at, claim_seconds, cpu_seconds))


def _find_database_pid(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("select pg_backend_pid()")) or 0)


def _read_cpu_seconds(pid: int) -> float:
    """Of a process with one thread, by Linux."""
    nanoseconds, _, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    return int(nanoseconds) / 1e9


def _drain(sessions: SessionFactory, worker_id: str) -> list[float]:
    """How long each claim took."""
    seconds: list[float] = []
    while True:
        asked_at = time.monotonic()
        held = _claim(sessions, worker_id)
        if held is None:
            return seconds
        seconds.append(time.monotonic() - asked_at)
        with sessions.begin() as session:
            claims.succeed(session, held)


def _claim(sessions: SessionFactory, worker_id: str) -> Claim | None:
    with sessions.begin() as session:
        return claims.claim(session, queue="train", worker_id=worker_id, lease_seconds=LEASE_SECONDS, gpus=ONE_GPU)
