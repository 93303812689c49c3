"""Trainers that wait for work with everything imported: one for each slot in which none runs."""

import subprocess
import threading
import time
from pathlib import Path

import structlog

from core.trainer_protocol import Assignment
from worker.spare import Spare

log = structlog.get_logger()

POLL_SECONDS = 0.5
REST_SECONDS = 2.0  # after a trainer's end: what is queued has its own by then, and keeps the cores to itself
FAILURE_REST_SECONDS = 600.0  # most likely memory is short


class Spares:
    """One thread starts them and lives as long as the worker: they die with it, also those that serve a job.

    There are none before `start`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slots = 0
        self._occupied = 0
        self._stopping = threading.Event()
        self._idle: list[Spare] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._due_at = 0.0
        self._thread = threading.Thread(target=self._run, name="spares", daemon=True)

    def start(self, *, slots: int, stopping: threading.Event) -> None:
        """In the background. From `stopping` on there are none again."""
        self._slots, self._stopping = slots, stopping
        self._rest(REST_SECONDS)
        self._thread.start()

    def close(self) -> None:
        """Once no trainer is left."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        for spare in self._idle:
            spare.end()
        self._idle = []

    @property
    def ready_pids(self) -> list[int]:
        with self._lock:
            return [spare.pid for spare in self._idle if spare.is_ready()]

    def take(self, assignment: Assignment) -> subprocess.Popen[bytes] | None:
        """A process that has begun with the assignment; None when the caller has to start one.

        No spare is ready then, or the one that was is no good. Either way a trainer runs from now on, until `vacate`.
        """
        with self._lock:
            self._occupied += 1
            spare = next((spare for spare in self._idle if spare.is_ready() and not spare.is_unfit()), None)
            if spare is None:
                return None
            self._idle.remove(spare)
        process = spare.assign(assignment)
        if process is None:
            self._bury(spare)
        return process

    def vacate(self, trainers: int) -> None:
        """So many have ended."""
        with self._lock:
            self._occupied -= trainers
            self._rest(REST_SECONDS)

    def _run(self) -> None:
        while not self._closed.wait(POLL_SECONDS):
            try:
                self._tend()
            except Exception:  # trainers die with this thread: it goes on
                log.exception("spares_failed")
                self._rest(FAILURE_REST_SECONDS)

    def _tend(self) -> None:
        for spare in self._remove_surplus():
            spare.end()
        for spare in self._remove_unfit():
            self._bury(spare)
        if self._is_due():
            spare = Spare(self._folder)
            with self._lock:
                self._idle.append(spare)

    def _remove_surplus(self) -> list[Spare]:
        with self._lock:
            wanted = self._count_wanted()
            surplus, self._idle = self._idle[wanted:], self._idle[:wanted]
        return surplus

    def _remove_unfit(self) -> list[Spare]:
        with self._lock:
            unfit = [spare for spare in self._idle if spare.is_unfit()]
            self._idle = [spare for spare in self._idle if spare not in unfit]
        return unfit

    def _is_due(self) -> bool:
        """One after another: on a host of many GPUs they would take all cores at once."""
        with self._lock:
            return (
                time.monotonic() >= self._due_at
                and len(self._idle) < self._count_wanted()
                and all(spare.is_ready() for spare in self._idle)
            )

    def _count_wanted(self) -> int:
        return 0 if self._stopping.is_set() else max(0, self._slots - self._occupied)

    def _bury(self, spare: Spare) -> None:
        status = spare.end()
        log.warning("spare_ended", pid=spare.pid, status=status)
        self._rest(FAILURE_REST_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._due_at = max(self._due_at, time.monotonic() + seconds)
