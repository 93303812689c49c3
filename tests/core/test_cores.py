import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.cores import count_cores, count_idle_cores
from tests.conditions import wait_until

CORES = os.cpu_count() or 1


def test_own_core_alone_is_all_of_them(tmp_path: Path) -> None:
    assert count_idle_cores(write_load(tmp_path, running=1)) == count_cores()


def test_each_thread_that_runs_has_a_core(tmp_path: Path) -> None:
    assert count_idle_cores(write_load(tmp_path, running=count_cores())) == 1
    assert count_idle_cores(write_load(tmp_path, running=10 * count_cores())) == 1


def test_there_is_one_where_the_system_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "garbled").write_text("0.10 0.20")

    assert count_idle_cores(tmp_path / "none") == count_idle_cores(tmp_path / "garbled") == 1


@pytest.mark.parametrize(
    ("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_container_has_the_cores_of_its_quota(tmp_path: Path, quota: str, cores: int | None) -> None:
    """A part of a core is one; without a quota all that its affinity allows."""
    path = tmp_path / "cpu.max"
    path.write_text(quota)

    assert count_cores(path) == (cores or count_cores(tmp_path / "none"))


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
