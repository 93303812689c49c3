"""`python -m cli.guard SIGNAL GRACE COMMAND…`: runs a command that ends when whoever started the guard ends.

The guard holds a pipe on its standard input. When the other end closes, for whatever reason (an orderly stop, kill -9),
the command gets SIGNAL, and SIGKILL after GRACE seconds; every process of its session goes with it.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

POLL_SECONDS = 0.2
USER_VARIABLE = "BITUNE_GUARD_USER"  # run the command as this user; only root can


def run(stop_signal: signal.Signals, grace_seconds: float, command: list[str]) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    user = os.environ.pop(USER_VARIABLE, None)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        user=user,
        extra_groups=None if user is None else [],
    )
    try:
        _wait_for_end(child)
    finally:
        _end(child, stop_signal, grace_seconds)
    return child.returncode


def _wait_for_end(child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        ready, _, _ = select.select([sys.stdin], [], [], POLL_SECONDS)
        if ready and not os.read(sys.stdin.fileno(), 1):
            return


def _end(child: subprocess.Popen[bytes], stop_signal: signal.Signals, grace_seconds: float) -> None:
    if child.poll() is None:
        child.send_signal(stop_signal)
    deadline = time.monotonic() + grace_seconds
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


if __name__ == "__main__":
    sys.exit(run(signal.Signals[sys.argv[1]], float(sys.argv[2]), sys.argv[3:]))
