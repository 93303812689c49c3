"""Requests that want the same at the same moment share one read of the database."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")

THREADS = 4  # of their own, so that a crowd that is woken together leaves the others to requests


class SharedReads:
    """A read is over when it has ended: what comes after it reads again."""

    def __init__(self) -> None:
        self._threads = CapacityLimiter(THREADS)
        self._running: dict[Hashable, asyncio.Task[Any]] = {}  # `Any`: each has a result of its own type

    async def read(self, what: Hashable, read: Callable[[], Result]) -> Result:
        """`what` says all that the result depends on, who may see it included."""
        task = self._running.get(what)
        if task is None:
            task = asyncio.create_task(to_thread.run_sync(read, limiter=self._threads))
            self._running[what] = task
            task.add_done_callback(lambda ended: self._forget(what, ended))
        result: Result = await asyncio.shield(task)  # whoever hangs up does not take it from the others
        return result

    def _forget(self, what: Hashable, ended: asyncio.Task[Any]) -> None:
        del self._running[what]
        if not ended.cancelled():
            ended.exception()  # has been seen, should all who asked have hung up
