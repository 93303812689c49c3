"""One guarded process of the local stack: its log, its end."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from cli.errors import LocalStackError
from cli.guard import USER_VARIABLE
from cli.home import Home

POLL_SECONDS = 0.05
LOG_TAIL_LINES = 12
GUARD_SECONDS = 5.0


class GuardedProcess:
    """A process that dies with us, and whose output is in its log file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        home: Home,
        log_name: str,
        environment: Mapping[str, str] | None = None,
        stop_signal: str = "SIGTERM",
        grace_seconds: float = 5.0,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log_path = home.logs / f"{log_name}.log"
        self._command = [sys.executable, "-m", "cli.guard", stop_signal, str(grace_seconds), *command]
        self._lock_handle = home.lock_handle
        self._grace_seconds = grace_seconds
        self._environment = {**os.environ, **(environment or {})}
        if user is not None:
            self._environment[USER_VARIABLE] = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Once more is fine after it has ended."""
        self.ask_to_stop()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log_file:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env=self._environment,
                pass_fds=[self._lock_handle],  # the home is in use until the last guard is gone
            )

    @property
    def pid(self) -> int | None:
        """Of the guard."""
        return None if self._process is None else self._process.pid

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait_until(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Raises LocalStackError with the end of the log when it ends or does not get ready."""
        deadline = time.monotonic() + seconds
        while not is_ready():
            if not self.is_alive():
                raise LocalStackError(f"{self.name} ended while starting; the end of {self.log_path}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise LocalStackError(
                    f"{self.name} is not ready after {seconds:.0f} s; the end of {self.log_path}:\n{self.tail()}"
                )
            time.sleep(POLL_SECONDS)

    def ask_to_stop(self) -> None:
        """Closes the guard's pipe; the guard does the rest."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def wait_for_end(self) -> None:
        """After `ask_to_stop`: the guard needs its grace and a little more."""
        if self._process is None:
            return
        try:
            self._process.wait(self._grace_seconds + GUARD_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(f"  {line}" for line in lines)


def stop_all(processes: list[GuardedProcess]) -> None:
    """Side by side: takes as long as the slowest."""
    for process in processes:
        process.ask_to_stop()
    for process in processes:
        process.wait_for_end()
