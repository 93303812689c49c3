"""Clients in a process of their own: a fixed number of them, or requests at a fixed rate."""

import asyncio
import itertools
import multiprocessing
import time
from pathlib import Path
from typing import NamedTuple, assert_never

from benchmarks.predict.connection import Answer, Connection
from benchmarks.predict.pictures import read_pictures

LEAD_IN_SECONDS = 4.0  # until as much comes out as goes in: what 128 clients wait on two cores
OK, BROKEN, TIMED_OUT = 200, 0, -1
REFUSALS = (429, 503)
PATIENCE_SECONDS = 60.0  # so long after the end of a round a refused request is tried again


class Target(NamedTuple):
    urls: list[str]  # asked in turn
    secret: str
    pictures: Path


class Clients(NamedTuple):
    """Each sends its next picture when the one before is answered, and a refused one again after Retry-After."""

    target: Target
    clients: int
    seconds: float = 0.0
    at_least: int = 0  # requests, if the seconds are too few for them


class Rate(NamedTuple):
    """Sends whatever is answered, each request on a free connection, and gives up after `timeout_seconds`."""

    target: Target
    per_second: float
    seconds: float
    timeout_seconds: float


class Try(NamedTuple):
    """One request and its answer, in seconds since the round began; `first_sent` is that of its first try."""

    first_sent: float
    sent: float
    answered: float
    status: int
    retry_after_seconds: float | None

    @property
    def waited_seconds(self) -> float:
        return self.answered - self.first_sent


def run_apart(load: Clients | Rate) -> list[Try]:
    """In the order of the answers."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(run_load, (load,))


def run_load(load: Clients | Rate) -> list[Try]:
    sender = _Sender(load.target)
    match load:
        case Clients():
            asyncio.run(_run_clients(load, sender))
        case Rate():
            asyncio.run(_run_rate(load, sender))
        case _:
            assert_never(load)
    return sender.tries


class _Sender:
    """Pictures and URLs in turn, and what became of them."""

    def __init__(self, target: Target) -> None:
        self.tries: list[Try] = []
        self.sent = 0
        self._urls = itertools.cycle(target.urls)
        self._pictures = itertools.cycle(read_pictures(target.pictures))
        self._secret = target.secret
        self._began_at = 0.0

    def start(self) -> None:
        self._began_at = time.monotonic()

    def now(self) -> float:
        return time.monotonic() - self._began_at

    async def send(self, connection: Connection, *, give_up_at: float) -> None:
        """Until it is answered otherwise than by a refusal."""
        self.sent += 1
        url, picture, first_sent = next(self._urls), next(self._pictures), self.now()
        while True:
            done = await self._try(connection, url, picture, first_sent)
            if done.status not in REFUSALS or self.now() > give_up_at:
                return
            await asyncio.sleep(1.0 if done.retry_after_seconds is None else done.retry_after_seconds)

    async def send_once(self, connection: Connection, *, timeout_seconds: float) -> None:
        self.sent += 1
        url, picture, sent = next(self._urls), next(self._pictures), self.now()
        try:
            await asyncio.wait_for(self._try(connection, url, picture, sent), timeout_seconds)
        except TimeoutError:
            self.tries.append(Try(sent, sent, self.now(), TIMED_OUT, None))

    async def _try(self, connection: Connection, url: str, picture: bytes, first_sent: float) -> Try:
        sent = self.now()
        try:
            answer = await connection.post(url, self._secret, picture)
        except (OSError, EOFError):
            answer = Answer(BROKEN, None, is_last=True)
        done = Try(first_sent, sent, self.now(), answer.status, answer.retry_after_seconds)
        self.tries.append(done)
        return done


async def _run_clients(load: Clients, sender: _Sender) -> None:
    """The clock starts when all are connected."""
    connections = [Connection() for _ in range(load.clients)]
    for connection in connections:
        await connection.open(load.target.urls[0])
    sender.start()
    await asyncio.gather(*(_run_client(load, sender, connection) for connection in connections))
    for connection in connections:
        connection.close()


async def _run_client(load: Clients, sender: _Sender, connection: Connection) -> None:
    while sender.now() < load.seconds or sender.sent < load.at_least:
        await sender.send(connection, give_up_at=load.seconds + PATIENCE_SECONDS)


async def _run_rate(load: Rate, sender: _Sender) -> None:
    idle: list[Connection] = []

    async def send_one() -> None:
        connection = idle.pop() if idle else Connection()
        await sender.send_once(connection, timeout_seconds=load.timeout_seconds)
        idle.append(connection)

    sender.start()
    async with asyncio.TaskGroup() as group:
        for number in range(round(load.per_second * load.seconds)):
            await asyncio.sleep(number / load.per_second - sender.now())
            group.create_task(send_one())
    for connection in idle:
        connection.close()
