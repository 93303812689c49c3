"""Clients that wait at the API, in a process of their own: open event streams, and long polls again and again."""

import asyncio
import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import NamedTuple
from urllib.parse import urlsplit

from benchmarks.pollers import read_answer

READY_SECONDS = 120.0
_EVENT = re.compile(rb"id: (\d+)\n")


class Crowd(NamedTuple):
    url: str
    secret: str
    job_ids: list[str]  # taken in turn
    streams: int
    long_polls: int


class Waited(NamedTuple):
    """What the crowd was told while it waited."""

    open_streams: int  # still open at the end
    events: int
    gaps: int  # event ids that did not follow the one before
    answered_polls: int


@contextmanager
def waiting(crowd: Crowd) -> Iterator[list[Waited]]:
    """All of them wait when the block begins; what they were told is there after it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(crowd, theirs), daemon=True)
    process.start()
    told: list[Waited] = []
    try:
        assert ours.poll(READY_SECONDS), "the crowd is not let in"
        ours.recv()
        yield told
        ours.send("stop")
        assert ours.poll(READY_SECONDS), "the crowd does not end"
        told.append(ours.recv())
    finally:
        process.kill()
        process.join()


def _run(crowd: Crowd, commands: Connection) -> None:
    asyncio.run(_wait_together(crowd, commands))


async def _wait_together(crowd: Crowd, commands: Connection) -> None:
    listeners = [_Listener() for _ in range(crowd.streams)]
    pollers = [_Poller() for _ in range(crowd.long_polls)]
    all_waiters: list[_Listener | _Poller] = [*listeners, *pollers]
    tasks = [
        asyncio.create_task(waiter.wait(crowd, job_id))
        for waiter, job_id in zip(all_waiters, islice(cycle(crowd.job_ids), len(all_waiters)), strict=True)
    ]
    for waiter in all_waiters:
        await waiter.is_waiting.wait()
    commands.send("ready")
    await asyncio.to_thread(commands.recv)
    failed = [task for task in tasks[crowd.streams :] if task.done()]
    assert not failed, failed[0].exception()
    commands.send(
        Waited(
            open_streams=sum(not task.done() for task in tasks[: crowd.streams]),
            events=sum(listener.events for listener in listeners),
            gaps=sum(listener.gaps for listener in listeners),
            answered_polls=sum(poller.answers for poller in pollers),
        )
    )


class _Listener:
    """One stream, from its first event on."""

    def __init__(self) -> None:
        self.is_waiting = asyncio.Event()
        self.events = 0
        self.gaps = 0
        self._last = 0

    async def wait(self, crowd: Crowd, job_id: str) -> None:
        reader, _ = await _ask(crowd, f"/jobs/{job_id}/events", "Accept: text/event-stream")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        while line := await reader.readline():
            if found := _EVENT.match(line):
                self._take(int(found[1]))

    def _take(self, event_id: int) -> None:
        self.gaps += event_id != self._last + 1
        self._last = event_id
        self.events += 1
        self.is_waiting.set()


class _Poller:
    """One client that asks again as soon as it is answered."""

    def __init__(self) -> None:
        self.is_waiting = asyncio.Event()
        self.answers = 0

    async def wait(self, crowd: Crowd, job_id: str) -> None:
        while True:
            reader, writer = await _ask(crowd, f"/jobs/{job_id}?wait=30", "Accept: application/json")
            self.is_waiting.set()
            await read_answer(reader)
            self.answers += 1
            writer.close()


async def _ask(crowd: Crowd, path: str, header: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(crowd.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}", f"Authorization: Bearer {crowd.secret}", header, "", ""]
    writer.write("\r\n".join(lines).encode())
    return reader, writer
