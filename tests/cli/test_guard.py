"""Nothing outlives whoever started the guard."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import LocalStackError
from cli.home import Home
from cli.process import GuardedProcess
from tests.conditions import wait_until

OWNER = """
import subprocess, sys
guard = [sys.executable, "-m", "cli.guard", "SIGTERM", "1", *sys.argv[1:]]
subprocess.Popen(guard, stdin=subprocess.PIPE).wait()
"""
FAMILY = 'trap "" TERM; sleep 300 & echo $$ $! > "$0.part"; mv "$0.part" "$0"; wait'  # obeys no SIGTERM


def start_family(pids_file: Path) -> "subprocess.Popen[bytes]":
    owner = subprocess.Popen([sys.executable, "-c", OWNER, "sh", "-c", FAMILY, str(pids_file)])
    wait_until(pids_file.exists, seconds=10)
    return owner


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_family_ends_with_the_owner(tmp_path: Path, number: signal.Signals) -> None:
    owner = start_family(tmp_path / "pids")
    family = [int(word) for word in (tmp_path / "pids").read_text().split()]
    owner.send_signal(number)
    owner.wait()
    wait_until(lambda: not any(lives(pid) for pid in family), seconds=10)


def test_process_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    home = Home(tmp_path)
    process = GuardedProcess("Broken", ["sh", "-c", "echo no luck; exit 3"], home=home, log_name="broken")
    process.start()
    with pytest.raises(LocalStackError, match=r"(?s)Broken ended while starting.*no luck"):
        process.wait_until(lambda: False, seconds=10)
    process.ask_to_stop()
    home.close()
