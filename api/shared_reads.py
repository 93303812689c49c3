"""Requests that want the same at the same moment share one read of the database."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")

THREADS = 4  # of their own, so that a crowd that is woken together leaves the others to requests
Task = asyncio.Task[Any]  # each has a result of its own type


class SharedReads:
    """Nobody gets what was read before he asked: whoever comes while a read is under way shares the one after it."""

    def __init__(self, *, num_threads: int = THREADS) -> None:
        self._turns = asyncio.Semaphore(num_threads)
        self._threads = CapacityLimiter(num_threads)
        self._begun: dict[Hashable, Task] = {}
        self._next: dict[Hashable, Task] = {}

    async def read(self, what: Hashable, read: Callable[[], Result]) -> Result:
        """`what` says all that the result depends on, who may see it included."""
        task = self._next.get(what)
        if task is None:
            task = asyncio.create_task(self._read_after(self._begun.get(what), what, read))
            self._next[what] = task
            task.add_done_callback(lambda ended: self._forget(what, ended))
        result: Result = await asyncio.shield(task)  # whoever hangs up does not take it from the others
        return result

    async def _read_after(self, before: Task | None, what: Hashable, read: Callable[[], Result]) -> Result:
        if before is not None:
            await asyncio.wait({before})
        async with self._turns:  # until it is its turn, others may join
            self._begun[what] = self._next.pop(what)
            return await to_thread.run_sync(read, limiter=self._threads)

    def _forget(self, what: Hashable, ended: Task) -> None:
        for tasks in (self._begun, self._next):
            if tasks.get(what) is ended:
                del tasks[what]
        if not ended.cancelled():
            ended.exception()  # has been seen, should all who asked have hung up
