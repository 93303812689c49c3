from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli.home import Home
from cli.process import GuardedProcess
from cli.supervision import FIRST_DELAY_SECONDS, Revival
from tests.conditions import wait_until


@pytest.fixture
def ended(tmp_path: Path) -> Iterator[GuardedProcess]:
    home = Home(tmp_path)
    process = GuardedProcess("Short", ["sh", "-c", "echo over"], home=home, log_name="short")
    process.start()
    wait_until(lambda: not process.is_alive(), seconds=10)
    yield process
    process.ask_to_stop()
    process.wait_for_end()
    home.close()


def test_dead_process_is_started_again_after_a_pause(ended: GuardedProcess) -> None:
    revival = Revival(ended, Console(file=StringIO()), start=ended.start)
    before = ended.pid
    revival.look(now=0.0)
    revival.look(now=FIRST_DELAY_SECONDS / 2)
    assert ended.pid == before
    revival.look(now=10 * FIRST_DELAY_SECONDS)
    assert ended.pid != before


def test_pause_grows_with_every_death(ended: GuardedProcess) -> None:
    output = StringIO()
    revival = Revival(ended, Console(file=output), start=ended.start)
    for now in (0.0, 100.0, 101.0, 300.0):
        wait_until(lambda: not ended.is_alive(), seconds=10)
        revival.look(now)
    assert "in 2 s" in output.getvalue()
    assert "in 4 s" in output.getvalue()
