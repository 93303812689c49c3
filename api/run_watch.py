"""Wakes whoever waits for a change of a run: one query a round for all of them, in a thread of its own."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import select

from core.db.session import DATABASE_OUTAGES, SessionFactory
from core.db.tables import Run
from core.errors import OverloadedError

log = structlog.get_logger()

POLL_SECONDS = 0.5
MAX_WAITING = 2000  # requests of one process; each holds a connection of its client


class Version(NamedTuple):
    """What changes whenever something of a run that a client sees does."""

    event_seq: int
    progress: dict[str, Any] | None


class _Waiter(NamedTuple):
    run_id: str
    is_awaited: Callable[[Version], bool]
    woken: asyncio.Future[None]


class RunWatch:
    """The query runs only while somebody waits; while the database is away, everybody sleeps on."""

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, run_id: str, is_awaited: Callable[[Version], bool], *, seconds: float) -> bool:
        """Whether such a version came in time."""
        self.require_room()
        waiter = _Waiter(run_id, is_awaited, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._start()
        try:
            await asyncio.wait_for(waiter.woken, timeout=seconds)
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    def require_room(self) -> None:
        if len(self._waiters) >= MAX_WAITING:
            raise OverloadedError(
                "too_many_waiting", "too many requests wait for changes", hint="poll without `wait=`, or try again"
            )

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        limiter = CapacityLimiter(1)  # not one of the threads that requests share
        while self._waiters:
            run_ids = list({waiter.run_id for waiter in self._waiters})
            try:
                self._wake(await to_thread.run_sync(self._read, run_ids, limiter=limiter))
            except DATABASE_OUTAGES as exc:
                log.warning("changes_not_read", error=type(exc).__name__)
            await asyncio.sleep(POLL_SECONDS)

    def _wake(self, versions: dict[str, Version]) -> None:
        for waiter in list(self._waiters):
            version = versions.get(waiter.run_id)
            if version is not None and not waiter.woken.done() and waiter.is_awaited(version):
                waiter.woken.set_result(None)

    def _read(self, run_ids: list[str]) -> dict[str, Version]:
        query = select(Run.id, Run.event_seq, Run.progress).where(Run.id.in_(run_ids))
        with self._sessions() as session:
            return {run_id: Version(seq, progress) for run_id, seq, progress in session.execute(query)}
