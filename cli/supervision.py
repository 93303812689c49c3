"""Keeps the processes of the local stack alive."""

import time
from collections.abc import Callable
from typing import NoReturn

from rich.console import Console

from cli.process import GuardedProcess

POLL_SECONDS = 0.5
FIRST_DELAY_SECONDS = 1.0
LAST_DELAY_SECONDS = 30.0
HEALTHY_SECONDS = 60.0  # after so long a new death counts as the first


class Revival:
    """Starts one process again when it died, each time after a longer pause."""

    def __init__(self, process: GuardedProcess, console: Console, *, start: Callable[[], None]) -> None:
        """`start`: the process's own, or a server's, which first looks after its files."""
        self._process = process
        self._start_process = start
        self._console = console
        self._delay = FIRST_DELAY_SECONDS
        self._died_at: float | None = None
        self._started_at = time.monotonic()

    def look(self, now: float) -> None:
        if self._process.is_alive():
            return
        if self._died_at is None:
            self._notice_death(now)
        elif now >= self._died_at + self._delay:
            self._start(now)

    def _notice_death(self, now: float) -> None:
        lived = now - self._started_at
        self._delay = FIRST_DELAY_SECONDS if lived > HEALTHY_SECONDS else min(self._delay * 2, LAST_DELAY_SECONDS)
        self._died_at = now
        self._console.print(
            f"[yellow]{self._process.name} ended; starting it again in {self._delay:.0f} s. "
            f"Its log: {self._process.log_path}[/]"
        )

    def _start(self, now: float) -> None:
        self._process.ask_to_stop()
        self._start_process()
        self._died_at, self._started_at = None, now


def supervise(revivals: list[Revival]) -> NoReturn:
    """Ends only by an interrupt."""
    while True:
        for revival in revivals:
            revival.look(time.monotonic())
        time.sleep(POLL_SECONDS)
