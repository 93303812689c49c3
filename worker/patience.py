"""Outwaits a store or a database that is away, as long as the attempt may."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

import structlog

from core.db.session import DATABASE_OUTAGES
from core.log import keep_ids
from core.storage_errors import StorageUnavailableError

log = structlog.get_logger()

Result = TypeVar("Result")

OUTAGES = (StorageUnavailableError, *DATABASE_OUTAGES)
MAX_PAUSE_SECONDS = 30.0
GIVE_UP_SECONDS = 0.2  # between two looks at whether to


class GivenUpError(Exception):
    """The action was left behind."""


def outwait(action: Callable[[], Result], *, seconds: float, give_up: Callable[[], bool]) -> Result:
    """Tries again with growing pauses; raises the last error after `seconds`, or when `give_up` says so."""
    deadline = time.monotonic() + seconds
    pause = 1.0
    while True:
        try:
            return action()
        except OUTAGES as exc:
            if time.monotonic() + pause > deadline or give_up():
                raise
            log.warning("outage", error=type(exc).__name__, next_try_seconds=pause)
        _rest(pause, give_up)
        pause = min(2 * pause, MAX_PAUSE_SECONDS)


def run_beside(action: Callable[[], Result], *, give_up: Callable[[], bool]) -> Result:
    """In a thread that is left behind once `give_up` says so: who hangs in a server must not keep a GPU.

    Raises GivenUpError. Only for actions whose every write is fenced.
    """
    future: Future[Result] = Future()
    threading.Thread(target=keep_ids(_fulfil), args=(future, action), name="beside", daemon=True).start()
    while not wait([future], timeout=GIVE_UP_SECONDS).done:
        if give_up():
            raise GivenUpError
    return future.result()


def _rest(seconds: float, give_up: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not give_up():
        time.sleep(min(GIVE_UP_SECONDS, seconds))


def _fulfil(future: Future[Result], action: Callable[[], Result]) -> None:
    try:
        future.set_result(action())
    except BaseException as exc:  # noqa: BLE001 - raised again where the result is asked for
        future.set_exception(exc)
