"""What users do to jobs at the worst moment, and jobs that kill whoever runs them."""

import random
import signal
import time
from collections.abc import Sequence

from core.runs.types import MAX_LOSSES
from core.states import TERMINAL
from tests.chaos.client import Client
from tests.chaos.history import POISONED, Injected
from tests.chaos.load import POISON, Load
from tests.chaos.process_faults import POLL_SECONDS, ProcessFaults, is_there
from tests.chaos.records import Records
from tests.end_to_end.faults import signal_all
from tests.trainers import find_trainer_pids_of_run

PATIENCE_SECONDS = 90.0
GONE_SECONDS = 30.0  # after which nobody waits for a trainer any longer
RACE_SECONDS = 14.0  # about a job's whole life


class JobFaults:
    def __init__(self, client: Client, records: Records, load: Load, processes: ProcessFaults) -> None:
        self._client = client
        self._records = records
        self._load = load
        self._processes = processes
        self._pausing: set[str] = set()  # jobs that are paused, or may still become so

    def cancel(self, rng: random.Random) -> Injected:
        """At any moment: queued, preparing, training, finishing, finished."""
        job_id = self._load.post("bi_tuning-0", expects="stop")
        time.sleep(rng.uniform(0, RACE_SECONDS))
        run_id = next(job.run_id for job in self._records.list_accepted() if job.job_id == job_id)
        return self._cancel("job: cancelled in a race", job_id, find_trainer_pids_of_run(run_id))

    def cancel_hanging(self, _: random.Random) -> Injected | None:
        """The trainer cannot obey SIGTERM."""
        job_id = self._load.post("bi_tuning-0", expects="stop")
        victim = self._processes.wait_for_training(job_id)
        trainers = [] if victim is None else find_trainer_pids_of_run(victim.run_id)
        if not signal_all(trainers, signal.SIGSTOP):
            return None
        return self._cancel("job: cancelled, trainer cannot obey", job_id, trainers)

    def cancel_pausing(self, rng: random.Random) -> Injected | None:
        """The second order comes while the first is being obeyed, and it is the last word."""
        job_id = self._load.post("bi_tuning-0", expects="stop")
        victim = self._processes.wait_for_training(job_id)
        if victim is None:
            return None
        trainers = find_trainer_pids_of_run(victim.run_id)
        self._client.insist("POST", f"/jobs/{job_id}/pause")
        time.sleep(rng.uniform(0, 1.5))  # so that the cancel comes at any moment of the pause
        return self._cancel("job: cancelled while it pauses", job_id, trainers)

    def pause(self, rng: random.Random) -> Injected | None:
        running = self._records.list_running()
        if not running:
            return None
        victim = rng.choice(running)
        trainers = find_trainer_pids_of_run(victim.run_id)
        self._pausing.add(victim.job_id)
        if self._client.insist("POST", f"/jobs/{victim.job_id}/pause").is_client_error:
            self._pausing.discard(victim.job_id)  # it has ended, or is about to
            return None
        at = time.time()
        seconds = _measure_stop(trainers, at)
        self._wait_for(victim.job_id, TERMINAL | {"paused"})
        self.resume_paused()
        return Injected("job: paused and resumed", at, at, [victim.run_id], stopped_seconds=seconds)

    def resume_paused(self) -> None:
        """Also those that became paused when nobody waited for it any more; to be called until all have ended."""
        for job_id in sorted(self._pausing):
            status = self._records.find_status(job_id)[0]
            if status == "paused":
                self._client.insist("POST", f"/jobs/{job_id}/resume")
            if status in TERMINAL | {"paused"}:
                self._pausing.discard(job_id)

    def poison(self, _: random.Random) -> Injected | None:
        """Each time that its trainer starts, the whole worker dies; None when it did not come to that often enough."""
        at, killed = time.time(), set[int]()
        job_id = self._load.post(POISON, expects="poison")
        run_id = next(job.run_id for job in self._records.list_accepted() if job.job_id == job_id)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._records.find_status(job_id)[0] not in TERMINAL and time.monotonic() < deadline:
            if find_trainer_pids_of_run(run_id):
                victim = next((job for job in self._records.list_running() if job.run_id == run_id), None)
                if victim is not None and signal_all([victim.worker_pid], signal.SIGKILL):
                    killed.add(victim.worker_pid)
            time.sleep(POLL_SECONDS)
        return Injected(POISONED, at, at, [run_id]) if len(killed) == MAX_LOSSES else None

    def _cancel(self, fault: str, job_id: str, trainers: Sequence[int]) -> Injected:
        self._client.insist("POST", f"/jobs/{job_id}/cancel")
        at = time.time()
        seconds = _measure_stop(trainers, at)
        self._wait_for(job_id, TERMINAL)
        run_id = next(job.run_id for job in self._records.list_accepted() if job.job_id == job_id)
        return Injected(fault, at, at, [run_id], stopped_seconds=seconds)

    def _wait_for(self, job_id: str, statuses: frozenset[str]) -> None:
        """Or until the patience is over: the checker will say what that means."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._records.find_status(job_id)[0] not in statuses and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def _measure_stop(trainers: Sequence[int], since: float) -> float | None:
    """Until the last one was gone, or nobody waited any longer; None if there were none."""
    if not trainers:
        return None
    while any(is_there(pid) for pid in trainers) and time.time() < since + GONE_SECONDS:
        time.sleep(POLL_SECONDS)
    return time.time() - since
