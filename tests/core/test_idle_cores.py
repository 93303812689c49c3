import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.idle_cores import count_idle_cores
from core.settings import count_cores
from tests.conditions import wait_until

CORES = os.cpu_count() or 1


def test_own_core_alone_is_all_of_them(tmp_path: Path) -> None:
    assert count_idle_cores(write_load(tmp_path, running=1)) == count_cores()


def test_each_thread_that_runs_has_a_core(tmp_path: Path) -> None:
    assert count_idle_cores(write_load(tmp_path, running=CORES)) == 1
    assert count_idle_cores(write_load(tmp_path, running=10 * CORES)) == 1


def test_there_is_one_where_the_system_does_not_say(tmp_path: Path) -> None:
    assert count_idle_cores(tmp_path / "none") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how many threads run")
def test_busy_machine_has_none_but_the_callers(busy: None) -> None:
    wait_until(lambda: all(count_idle_cores() == 1 for _ in range(20)), seconds=10)


@pytest.fixture
def busy() -> Iterator[None]:
    """A thread that runs for every core."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(CORES)]
    yield
    for process in processes:
        process.kill()
        process.wait()


def write_load(folder: Path, *, running: int) -> Path:
    path = folder / "loadavg"
    path.write_text(f"0.10 0.20 0.30 {running}/77 3102\n")
    return path
