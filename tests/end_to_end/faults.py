"""What may happen to a server: it hangs, with its ports open, or it is gone."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from cli.process import GuardedProcess


@contextmanager
def hanging(process: GuardedProcess) -> Iterator[None]:
    """Everything below the guard stands still: connections are accepted by the kernel and never answered."""
    pids = find_descendants(process.pid)
    signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(pids, signal.SIGCONT)


def kill(process: GuardedProcess) -> None:
    """Everything below the guard at once, and then the guard has nothing left to guard."""
    signal_all(find_descendants(process.pid), signal.SIGKILL)


def find_descendants(pid: int | None) -> list[int]:
    """Parents before their children, so that a stopped one makes no more; PostgreSQL's have sessions of their own."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
    parents = {int(pid): int(parent) for pid, parent in (line.split() for line in listed.stdout.splitlines())}
    found = [] if pid is None else [pid]
    for ancestor in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def signal_all(pids: list[int], number: signal.Signals) -> bool:
    """Whether one of them was still there."""
    hit = False
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        hit = True
    return hit
