"""Real trainers that wait, and jobs that find them ready, or not."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.trainer_protocol import ExitCode, Line, Metrics
from tests.conditions import wait_until
from tests.core.training.jobs import BI_TUNING, make_job, make_spec
from tests.trainers import find_pids, find_spare_pids, find_trainer_pids
from worker.spares import Spares
from worker.trainer_process import TrainerProcess

READY_SECONDS = 90
KILLED_WITH_SPARE = """
import sys, threading, time
from pathlib import Path
from worker.spares import Spares
spares = Spares(Path(sys.argv[1]))
spares.start(slots=1, stopping=threading.Event())
while not spares.ready_pids:
    time.sleep(0.1)  # between two looks whether it is ready
print(spares.ready_pids[0], flush=True)
time.sleep(600)  # until it is killed, which is the test
"""


class Host:
    """Spares, and jobs that are started beside them."""

    def __init__(self, home: Path, *, slots: int) -> None:
        self.home = home
        self.stopping = threading.Event()
        self.spares = Spares(home / "worker")
        self.spares.start(slots=slots, stopping=self.stopping)

    def wait_for_spares(self, count: int) -> list[int]:
        wait_until(lambda: len(self.spares.ready_pids) == count, seconds=READY_SECONDS)
        return self.spares.ready_pids

    @contextmanager
    def job(self, name: str, *, devices: list[str], epochs: int = 1) -> Iterator[TrainerProcess]:
        folder = self.home / name
        job = make_job(folder, make_spec(BI_TUNING, epochs=epochs))
        process = TrainerProcess(folder, job, devices=devices, spares=self.spares, on_progress=lambda _: None)
        try:
            yield process
        finally:
            process.close()


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[Callable[[int], Host]]:
    hosts: list[Host] = []

    def start(slots: int) -> Host:
        hosts.append(Host(tmp_path, slots=slots))
        return hosts[-1]

    yield start
    for host in hosts:
        host.spares.close()
    assert find_pids(f"core.training.*{tmp_path}") == []


def read_lines(process: TrainerProcess) -> list[Line]:
    lines = []
    while not process.is_done():
        line = process.next_line(0.1)
        lines += [] if line is None else [line]
    return lines


def list_metrics(lines: list[Line]) -> list[dict[str, float]]:
    return [line.values for line in lines if isinstance(line, Metrics)]


def test_spare_does_what_a_trainer_does_once_and_then_there_is_another(start_host: Callable[[int], Host]) -> None:
    host = start_host(1)
    [spare] = host.wait_for_spares(1)

    with host.job("first", devices=[""]) as first:
        assert first.pids == find_trainer_pids(host.home) == [spare]
        lines = read_lines(first)
        assert find_spare_pids(host.home) == []  # its memory and its cores are the job's
        with host.job("second", devices=[""]) as second:
            expected = read_lines(second)  # of a trainer that was started for it

    assert first.close() == second.close() == ExitCode.OK
    assert second.pids != [spare]
    assert list_metrics(lines) == list_metrics(expected) != []
    assert "began" in first.log_path.read_text()
    assert host.wait_for_spares(1) != [spare]


def test_ranks_that_are_spares_find_each_other(start_host: Callable[[int], Host]) -> None:
    """By their environment, which they have not been started with."""
    host = start_host(2)
    spares = host.wait_for_spares(2)

    with host.job("job", devices=["", ""]) as process:
        lines = read_lines(process)

    assert process.close() == ExitCode.OK
    assert sorted(process.pids) == sorted(spares)
    assert [line.type for line in lines].count("finished") == 1


def test_spare_that_dies_or_hangs_is_replaced_by_a_trainer_of_the_job(start_host: Callable[[int], Host]) -> None:
    host = start_host(2)
    dead, hanging = host.wait_for_spares(2)
    os.kill(hanging, signal.SIGSTOP)
    os.kill(dead, signal.SIGKILL)

    with host.job("one", devices=[""]) as one, host.job("two", devices=[""]) as two:
        assert {*one.pids, *two.pids}.isdisjoint({dead, hanging})
        assert sorted(find_trainer_pids(host.home)) == sorted([*one.pids, *two.pids])
        assert find_spare_pids(host.home) == []  # what hangs is killed


def test_spare_that_is_not_ready_is_not_waited_for(start_host: Callable[[int], Host]) -> None:
    host = start_host(1)
    wait_until(lambda: find_spare_pids(host.home) != [], seconds=READY_SECONDS)
    spares = find_spare_pids(host.home)
    assert host.spares.ready_pids == []

    with host.job("job", devices=[""]) as process:
        assert process.pids != spares
        wait_until(lambda: find_spare_pids(host.home) == [], seconds=10)  # it would take the job's cores


def test_spare_of_replaced_code_is_not_used(start_host: Callable[[int], Host], monkeypatch: pytest.MonkeyPatch) -> None:
    host = start_host(1)
    spares = host.wait_for_spares(1)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "another")

    with host.job("job", devices=[""]) as process:
        assert process.pids != spares


def test_spare_that_dies_at_the_start_of_its_job_is_a_crash(start_host: Callable[[int], Host]) -> None:
    host = start_host(1)
    spares = host.wait_for_spares(1)

    with host.job("job", devices=[""], epochs=10_000) as process:
        os.kill(spares[0], signal.SIGKILL)
        read_lines(process)

    assert process.close() == -signal.SIGKILL


def test_worker_that_stops_has_no_spares(start_host: Callable[[int], Host]) -> None:
    host = start_host(1)
    host.wait_for_spares(1)

    host.stopping.set()

    wait_until(lambda: find_spare_pids(host.home) == [], seconds=3)


def test_spare_dies_with_its_worker(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WITH_SPARE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        spare = int(worker.stdout.readline())
        assert find_spare_pids(tmp_path) == [spare]

        worker.kill()

    wait_until(lambda: find_spare_pids(tmp_path) == [], seconds=5)
