"""The command lines of our own processes."""

import os
import sys
from collections.abc import Mapping
from typing import NoReturn
from uuid import uuid4

# Between two layers OpenMP's threads spin while they wait for each other, by default for milliseconds. This is enough
# for a picture that has all cores, and little for those who need a core next.
API_SPINS = {"GOMP_SPINCOUNT": "10000"}


def make_api_command(*, host: str, port: int, log_level: str) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app"),
        *("--host", host, "--port", str(port), "--log-level", log_level.lower()),
        *("--loop", "uvloop"),
        *("--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "5"),  # the request layer logs
    ]


def make_api_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Beside what the process inherits; the operator's own value wins."""
    return {name: os.environ.get(name, value) for name, value in API_SPINS.items()} | dict(environment)


def make_worker_command(queue: str, *, log_level: str) -> list[str]:
    """One thread is enough: a task only wakes the slots, which are threads of `worker/`."""
    return [
        *(sys.executable, "-m", "celery", "--quiet", "-A", "worker.app:app", "worker"),  # quiet: no banner in the log
        *("-P", "threads", "-c", "1", "-Q", queue, "-n", f"{queue}-{uuid4().hex[:8]}@%h"),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", log_level.upper()),
    ]


def become(command: list[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Replaces this process, so that signals reach the right one."""
    os.execve(command[0], command, os.environ if environment is None else environment)  # noqa: S606 - a list of our own, no shell
