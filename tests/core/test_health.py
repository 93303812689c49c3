import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from core.errors import UnavailableError
from core.health import Findings, Probes
from tests.conditions import wait_until

PROBE_SECONDS = 0.2
MUCH_LATER_SECONDS = 10.0


class Server:
    """Answers once the test lets it; counts who ask."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = 0
        self.answered = 0

    def check(self) -> None:
        self.asked += 1
        self.answers.wait(MUCH_LATER_SECONDS)
        self.answered += 1


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.answers.set()


def fail() -> None:
    raise ConnectionRefusedError


def ask(probes: Probes) -> tuple[Findings, float]:
    started = time.monotonic()
    return asyncio.run(probes.ask()), time.monotonic() - started


def test_each_check_is_reported_by_name(server: Server) -> None:
    server.answers.set()

    findings, _ = ask(Probes({"well": server.check, "broken": fail}))

    assert findings["well"] is None
    assert isinstance(findings["broken"], ConnectionRefusedError)


def test_check_that_hangs_has_failed_in_time(server: Server) -> None:
    findings, seconds = ask(Probes({"hanging": server.check, "broken": fail}, seconds=PROBE_SECONDS))

    assert PROBE_SECONDS <= seconds < 5 * PROBE_SECONDS
    assert isinstance(findings["hanging"], UnavailableError)
    assert isinstance(findings["broken"], ConnectionRefusedError)


def test_check_that_still_hangs_has_failed_at_once_and_takes_no_other_thread(server: Server) -> None:
    probes = Probes({"hanging": server.check}, seconds=PROBE_SECONDS)
    ask(probes)

    findings, seconds = ask(probes)

    assert isinstance(findings["hanging"], UnavailableError)
    assert seconds < PROBE_SECONDS
    assert server.asked == 1


def test_server_that_goes_on_is_well_again(server: Server) -> None:
    probes = Probes({"hanging": server.check}, seconds=PROBE_SECONDS)
    ask(probes)
    server.answers.set()
    wait_until(lambda: server.answered == 1, seconds=MUCH_LATER_SECONDS)
    wait_until(lambda: ask(probes)[0] == {"hanging": None}, seconds=MUCH_LATER_SECONDS)

    assert server.asked > 1


def test_who_asks_at_the_same_time_shares_the_answer(server: Server) -> None:
    probes = Probes({"slow": server.check}, seconds=MUCH_LATER_SECONDS)

    async def ask_twice() -> list[Findings]:
        asked = asyncio.gather(probes.ask(), probes.ask())
        asyncio.get_running_loop().call_later(PROBE_SECONDS, server.answers.set)
        return list(await asked)

    assert asyncio.run(ask_twice()) == [{"slow": None}, {"slow": None}]
    assert server.asked == 1
