"""Clients that ask for one path again and again over connections that stay open.

Of bare sockets: a real HTTP client would take more of the machine than the server under test.
"""

import asyncio
import multiprocessing
import re
import time
from typing import NamedTuple
from urllib.parse import urlsplit

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Poll(NamedTuple):
    url: str
    secret: str
    clients: int
    seconds: float


class Answer(NamedTuple):
    at: float
    seconds: float


class Round(NamedTuple):
    requests_per_second: float  # answered while the round lasted
    latencies: list[float]  # in seconds, also of those that were answered after it


def run_round_apart(poll: Poll) -> Round:
    """In a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(_run_round, (poll,))


def _run_round(poll: Poll) -> Round:
    return asyncio.run(_poll_together(poll))


async def _poll_together(poll: Poll) -> Round:
    """The clock starts when all are connected."""
    connections = [await _connect(poll.url) for _ in range(poll.clients)]
    stop_at = time.monotonic() + poll.seconds
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_poll_until(stop_at, poll, connection)) for connection in connections]
    answers = [answer for task in tasks for answer in task.result()]
    in_time = sum(answer.at <= stop_at for answer in answers)
    return Round(in_time / poll.seconds, [answer.seconds for answer in answers])


async def _connect(url: str) -> Connection:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def _poll_until(stop_at: float, poll: Poll, connection: Connection) -> list[Answer]:
    parts = urlsplit(poll.url)
    lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Authorization: Bearer {poll.secret}", "", ""]
    request = "\r\n".join(lines).encode()
    reader, writer = connection
    answers = []
    while (asked_at := time.monotonic()) < stop_at:
        writer.write(request)
        await read_answer(reader)
        answered_at = time.monotonic()
        answers.append(Answer(answered_at, answered_at - asked_at))
    writer.close()
    return answers


async def read_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = _LENGTH.search(head)
    assert length is not None, head
    await reader.readexactly(int(length[1]))
