"""Kills, stops and hangs of our own processes."""

import random
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from cli.process import GuardedProcess
from core.runs.types import MAX_LOSSES
from tests.chaos.background import running_beside
from tests.chaos.client import Client
from tests.chaos.history import STOPPED_AT_POINT, STOPPED_WORKER, Injected
from tests.chaos.kill_points import NAMES, STOPS
from tests.chaos.load import VARIANTS, Load
from tests.chaos.records import Records, RunningJob
from tests.chaos.stack import LEASE_SECONDS, STALL_SECONDS, Stack
from tests.conditions import wait_until
from tests.end_to_end.faults import find_descendants, signal_all
from tests.trainers import find_trainer_pids_of_run

POLL_SECONDS = 0.2
POINT_SECONDS = 12.0  # until a point is given up that nobody reaches
SIGNAL_SECONDS = 3.0  # until who got a signal is gone, its parent has seen so, or it stands still
SHUTDOWN_SECONDS = 25.0
START_SECONDS = 60.0
SPARE_BYTES = 4 * 1024**2


class ProcessFaults:
    """Each fault gives None when there was nothing to hit. A job is spared that the next loss would make poison."""

    def __init__(self, stack: Stack, records: Records, load: Load, *, seed: int) -> None:
        self._stack = stack
        self._records = records
        self._load = load
        self._points = shuffle_points(seed)

    def kill_trainer(self, rng: random.Random) -> Injected | None:
        time.sleep(rng.uniform(0, 1))
        victim = self._choose(rng)
        if victim is None or not signal_all(find_trainer_pids_of_run(victim.run_id), signal.SIGKILL):
            return None
        return _now("trainer: kill -9", [victim.run_id], f"step {victim.step}")

    def kill_worker(self, rng: random.Random) -> Injected | None:
        victim = self._choose(rng)
        worker = None if victim is None else self._find_worker(victim.worker_pid)
        if victim is None or worker is None:
            return None
        signal_all(find_descendants(worker.pid), signal.SIGKILL)
        return _now("worker group: kill -9", [victim.run_id])

    def kill_at_point(self, _: random.Random) -> Injected | None:
        """The worker that gets there kills itself, whatever it runs by then."""
        if not self._may_lose():
            return None
        name = next(self._points)
        killed = self._wait_at(name, signal.SIGKILL, until=lambda pid: not is_there(pid))
        return _now("worker: kill -9 at a named point", [job.run_id for job in killed], name) if killed else None

    def stop_at_point(self, rng: random.Random) -> Injected | None:
        """The worker stops there, and wakes when its run may be somebody else's; its trainer goes on."""
        if not self._may_lose():
            return None
        name = rng.choice(STOPS)
        stopped = self._wait_at(name, signal.SIGSTOP, until=is_stopped)
        if not stopped:
            return None
        started_at = time.time()
        time.sleep(LEASE_SECONDS + rng.uniform(1.0, 2.5))  # the fault itself: to stand still past the lease
        signal_all([job.worker_pid for job in stopped], signal.SIGCONT)
        return Injected(STOPPED_AT_POINT, started_at, time.time(), [job.run_id for job in stopped], name)

    def _may_lose(self) -> bool:
        """Whether no job would become poison by what hits it next; a loss counts some seconds after its kill."""
        return self._records.find_most_losses() + 1 < MAX_LOSSES

    def _wait_at(self, name: str, number: signal.Signals, *, until: Callable[[int], bool]) -> list[RunningJob]:
        """The jobs of the worker that got there and so the signal; none if nobody got there in time."""
        point, prepared = self._stack.points_dir / name, self._stack.points_dir / f".{name}"
        prepared.write_text(str(int(number)))
        prepared.rename(point)
        deadline = time.monotonic() + POINT_SECONDS
        held: list[RunningJob] = []
        while point.exists() and time.monotonic() < deadline and self._may_lose():
            held = self._records.list_running()
            time.sleep(POLL_SECONDS)  # between two looks at the point
        if point.exists():
            point.unlink(missing_ok=True)
            return []
        held = [*held, *self._records.list_running()]
        deadline = time.monotonic() + SIGNAL_SECONDS
        while not any(until(job.worker_pid) for job in held) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)  # between two looks at the workers
        return list({job.run_id: job for job in held if until(job.worker_pid)}.values())

    def stop_worker(self, rng: random.Random) -> Injected | None:
        """For longer than the lease; then it goes on as if nothing had happened."""
        victim = self._choose(rng)
        worker = None if victim is None else self._find_worker(victim.worker_pid)
        if victim is None or worker is None:
            return None
        started_at, pids = time.time(), find_descendants(worker.pid)
        signal_all(pids, signal.SIGSTOP)
        time.sleep(LEASE_SECONDS + rng.uniform(1.0, 2.5))
        signal_all(pids, signal.SIGCONT)
        return Injected(STOPPED_WORKER, started_at, time.time(), [victim.run_id])

    def terminate_worker(self, rng: random.Random) -> Injected | None:
        """A deploy: it hands its run back, and another process takes its place."""
        victim = self._choose(rng)
        if victim is None:
            return None
        started_at = time.time()
        signal_all([victim.worker_pid], signal.SIGTERM)
        wait_until(lambda: not is_there(victim.worker_pid), seconds=SHUTDOWN_SECONDS)
        return Injected("worker: SIGTERM (a deploy)", started_at, started_at, [victim.run_id])

    def kill_api(self, _: random.Random) -> Injected | None:
        """One that has come up since the last time."""
        with Client(self._stack.url, self._stack.key) as client:
            is_up = client.is_all_well()
        if not is_up or not signal_all(find_descendants(self._stack.api.pid), signal.SIGKILL):
            return None
        return _now("API: kill -9", [])

    def hang_trainer(self, rng: random.Random) -> Injected | None:
        """It makes no step and obeys nothing, until its worker has had enough of it."""
        victim = self._choose(rng)
        trainers = [] if victim is None else find_trainer_pids_of_run(victim.run_id)
        if victim is None or not signal_all(trainers, signal.SIGSTOP):
            return None
        started_at = time.time()
        wait_until(lambda: not any(is_there(pid) for pid in trainers), seconds=2 * STALL_SECONDS)
        return Injected("trainer: hangs", started_at, started_at, [victim.run_id])

    def starve_trainer(self, _: random.Random) -> Injected | None:
        """What it allocates from now on is refused; how it ends is its own affair, but it ends."""
        job_id = self._load.post("bi_tuning-0", expects="any")
        victim = self.wait_for_training(job_id)
        if victim is None:
            return None
        for pid in find_trainer_pids_of_run(victim.run_id):
            limit = _read_size_bytes(pid) + SPARE_BYTES
            resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        return _now("trainer: no more memory", [victim.run_id])

    def wait_for_training(self, job_id: str) -> RunningJob | None:
        """None when it ended before anybody saw it train."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for job in self._records.list_running():
                if job.job_id == job_id and job.stage == "training":
                    return job
            if self._records.find_status(job_id)[0] not in {"queued", "running"}:
                return None
            time.sleep(POLL_SECONDS)
        return None

    def kept_alive(self) -> AbstractContextManager[None]:
        """What dies is started again, as a service manager does it."""
        return running_beside("keeper", self._keep_alive)

    def _keep_alive(self, ended: threading.Event) -> None:
        while not ended.wait(POLL_SECONDS):
            for process in self._stack.processes:
                if not process.is_alive():
                    process.start()

    def _choose(self, rng: random.Random) -> RunningJob | None:
        """In any stage; most of a job's life is training."""
        running = [job for job in self._records.list_running() if job.name in VARIANTS and job.losses + 1 < MAX_LOSSES]
        return rng.choice(running) if running else None

    def _find_worker(self, pid: int) -> GuardedProcess | None:
        return next((worker for worker in self._stack.workers if pid in find_descendants(worker.pid)), None)


def shuffle_points(seed: int) -> Iterator[str]:
    """All of them, and again in another order; the seed alone decides."""
    rng = random.Random(f"{seed} kill points")  # noqa: S311 - a schedule that replays, no secret
    while True:
        yield from rng.sample(NAMES, len(NAMES))


def is_there(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


def is_stopped(pid: int) -> bool:
    """By a SIGSTOP."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


def _read_size_bytes(pid: int) -> int:
    pages = int(Path("/proc", str(pid), "statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _now(fault: str, run_ids: list[str], detail: str = "") -> Injected:
    at = time.time()
    return Injected(fault, at, at, run_ids, detail)
