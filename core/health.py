"""Whether each server answers: what `/readyz` and `bitune doctor` ask."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import NamedTuple

from sqlalchemy import Engine, text

from core.db.migrate import is_current
from core.dispatch import Dispatcher
from core.errors import UnavailableError
from core.storage import Storage

PROBE_SECONDS = 2.0

Check = Callable[[], None]  # raises when something is wrong
Findings = dict[str, Exception | None]  # what is wrong, by the name of the check


def list_checks(engine: Engine, dispatcher: Dispatcher, storage: Storage) -> dict[str, Check]:
    return {
        "database": partial(_check_database, engine),
        "migrations": partial(_check_migrations, engine),
        "broker": dispatcher.check,
        "storage": storage.check,
    }


class Probes:
    """Runs checks side by side, none for longer than `seconds`, and each at most once at a time.

    A check that hangs keeps its one thread; whoever asks meanwhile hears at once that it failed. The threads are
    daemons, so that one that hangs does not keep the process from ending.
    """

    def __init__(self, checks: Mapping[str, Check], *, seconds: float = PROBE_SECONDS) -> None:
        self._checks = checks
        self._seconds = seconds
        self._running: dict[str, _Probe] = {}

    async def ask(self) -> Findings:
        """Call it in one event loop: that is what keeps a check from being started twice."""
        probes = {name: self._join(name, check) for name, check in self._checks.items()}
        found = await asyncio.gather(*(self._wait(probe) for probe in probes.values()))
        return dict(zip(probes, found, strict=True))

    def _join(self, name: str, check: Check) -> "_Probe":
        running = self._running.get(name)
        if running is None or running.result.done():
            running = self._running[name] = _start(name, check)
        return running

    async def _wait(self, probe: "_Probe") -> Exception | None:
        left = probe.started_at + self._seconds - time.monotonic()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(probe.result), max(left, 0.0))
        except TimeoutError:
            return UnavailableError("no_answer", f"no answer within {self._seconds:g} s")


class _Probe(NamedTuple):
    started_at: float
    result: "Future[Exception | None]"


def _start(name: str, check: Check) -> _Probe:
    probe = _Probe(time.monotonic(), Future())
    probe.result.set_running_or_notify_cancel()  # from here on, who gives up waiting does not cancel it for others
    Thread(target=_run, args=(check, probe.result), name=f"probe-{name}", daemon=True).start()
    return probe


def _run(check: Check, result: "Future[Exception | None]") -> None:
    try:
        check()
    except Exception as exc:  # noqa: BLE001 - whatever a server does, the answer is that it is not ready
        result.set_result(exc)
    else:
        result.set_result(None)


def _check_database(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("select 1"))


def _check_migrations(engine: Engine) -> None:
    if not is_current(engine):
        raise UnavailableError("database_outdated", "the database is not at the newest migration; run `bitune migrate`")
