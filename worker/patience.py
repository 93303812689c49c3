"""Outwaits a store or a database that is away, as long as the attempt may."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.storage import StorageUnavailableError

log = structlog.get_logger()

Result = TypeVar("Result")

OUTAGES = (StorageUnavailableError, OperationalError, PoolTimeoutError)
MAX_PAUSE_SECONDS = 30.0


def outwait(action: Callable[[], Result], *, seconds: float, stop: threading.Event) -> Result:
    """Tries again with growing pauses; raises the last error after `seconds`, or at once when `stop` is set."""
    deadline = time.monotonic() + seconds
    pause = 1.0
    while True:
        try:
            return action()
        except OUTAGES as exc:
            if time.monotonic() + pause > deadline or stop.is_set():
                raise
            log.warning("outage", error=type(exc).__name__, next_try_seconds=pause)
        stop.wait(pause)
        pause = min(2 * pause, MAX_PAUSE_SECONDS)
