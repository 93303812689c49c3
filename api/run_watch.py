"""Wakes whoever waits for a change of a run: two queries a round for all of them, in a thread of its own."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from anyio import CapacityLimiter, to_thread
from sqlalchemy import select

from core import keys
from core.db.session import DATABASE_OUTAGES, SessionFactory
from core.db.tables import Run
from core.errors import OverloadedError
from core.keys import Principal

log = structlog.get_logger()

POLL_SECONDS = 0.5
MAX_WAITING = 2000  # requests of one process; each holds a connection of its client
MAX_WAITING_OF_PROJECT = 1000


class Version(NamedTuple):
    """What changes whenever something of a run that a client sees does."""

    event_seq: int
    progress: dict[str, Any] | None


class _Waiter(NamedTuple):
    principal: Principal
    run_id: str
    is_awaited: Callable[[Version], bool]
    woken: asyncio.Future[int]


class _State(NamedTuple):
    """What one round has read."""

    versions: dict[str, Version]  # by run
    valid_keys: set[str]


class RunWatch:
    """The queries run only while somebody waits; while the database is away, everybody sleeps on."""

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions
        self._waiters: set[_Waiter] = set()
        self._task: asyncio.Task[None] | None = None
        self._round = 0

    async def wait(
        self, principal: Principal, run_id: str, is_awaited: Callable[[Version], bool], *, seconds: float
    ) -> int | None:
        """The number of the round that saw such a version, the run gone or the key ended; None when none came in time.

        All who are woken in one round may share what they read then.
        """
        waiter = _Waiter(principal, run_id, is_awaited, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        self._start()
        try:
            return await asyncio.wait_for(waiter.woken, timeout=seconds)
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(waiter)

    def require_room(self, principal: Principal) -> None:
        """Asked when a request comes, not at each of its waits: what has begun is not broken off."""
        of_project = sum(waiter.principal.project_id == principal.project_id for waiter in self._waiters)
        if len(self._waiters) >= MAX_WAITING or of_project >= MAX_WAITING_OF_PROJECT:
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
            waiters = list(self._waiters)  # who comes during the query is not told by it
            run_ids = {waiter.run_id for waiter in waiters}
            key_ids = {waiter.principal.key_id for waiter in waiters}
            try:
                state = await to_thread.run_sync(self._read, run_ids, key_ids, limiter=limiter)
                self._wake(waiters, state)
            except DATABASE_OUTAGES as exc:
                log.warning("changes_not_read", error=type(exc).__name__)
            await asyncio.sleep(POLL_SECONDS)

    def _wake(self, waiters: list[_Waiter], state: _State) -> None:
        self._round += 1
        for waiter in waiters:
            version = state.versions.get(waiter.run_id)
            if waiter.woken.done():
                continue
            if version is None or waiter.principal.key_id not in state.valid_keys or waiter.is_awaited(version):
                waiter.woken.set_result(self._round)

    def _read(self, run_ids: set[str], key_ids: set[str]) -> _State:
        query = select(Run.id, Run.event_seq, Run.progress).where(Run.id.in_(run_ids))
        with self._sessions() as session:
            versions = {run_id: Version(seq, progress) for run_id, seq, progress in session.execute(query)}
            return _State(versions, keys.find_valid(session, key_ids))
