"""A worker process whose trainer does nothing: the real claim, the real end, each in a transaction of its own."""

import time
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import NamedTuple

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


def work_until_empty(database_url: str, worker_id: str, start: Barrier, result: Connection) -> None:
    """The target of a process: connects, waits for the others, and sends its shift when nothing is left."""
    engine = make_engine(database_url)
    engine.connect().close()
    start.wait()
    result.send(_drain(make_session_factory(engine), worker_id))
    engine.dispose()


def _drain(sessions: SessionFactory, worker_id: str) -> Shift:
    began_at = time.monotonic()
    seconds: list[float] = []
    while True:
        asked_at = time.monotonic()
        held = _claim(sessions, worker_id)
        if held is None:
            return Shift(began_at, time.monotonic(), seconds)
        seconds.append(time.monotonic() - asked_at)
        with sessions.begin() as session:
            claims.succeed(session, held)


def _claim(sessions: SessionFactory, worker_id: str) -> Claim | None:
    with sessions.begin() as session:
        return claims.claim(session, queue="train", worker_id=worker_id, lease_seconds=LEASE_SECONDS, gpus=ONE_GPU)
