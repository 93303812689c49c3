"""The processes of one trainer: one a GPU, a single one on a CPU. They end together."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import structlog

from core.trainer_protocol import Assignment, ExitCode
from worker.spares import Spares
from worker.trainer_start import start_trainer

log = structlog.get_logger()

GOOD_ENDS = (None, ExitCode.OK, ExitCode.INTERRUPTED)  # not ended yet, done, or obeying: the others end by themselves
LOCALHOST = "127.0.0.1"
KILL_SECONDS = 10.0  # after which a killed process hangs in the kernel, as in a driver


class Ranks:
    """Each is a spare where one is ready, and started where none is."""

    def __init__(
        self,
        work_dir: Path,
        log_path: Path,
        devices: list[str],
        spares: Spares,
        *,
        kill_seconds: float = KILL_SECONDS,
    ) -> None:
        """`devices`: CUDA_VISIBLE_DEVICES of each process; none is one process that sees what we see."""
        self._bad_end: int | None = None
        self._kill_seconds = kill_seconds
        self._killed_at: float | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._spares = spares
        self._taken = 0  # of the places that spares leave to trainers
        try:
            log_path.write_bytes(b"")
            for variables in _make_variables(devices):
                assignment = Assignment(work_dir=work_dir, log_path=log_path, variables=variables)
                self._processes.append(self._start(assignment))
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def is_alive(self) -> bool:
        """Kills the rest when one has ended badly: they would wait for it."""
        statuses = [process.poll() for process in self._processes]
        bad_ends = [status for status in statuses if status not in GOOD_ENDS]
        if bad_ends and self._bad_end is None:
            self._bad_end = min(bad_ends)  # a signal says more than the complaint of who waited for the dead
            self.kill()
        return None in statuses and not self.is_stuck

    @property
    def is_stuck(self) -> bool:
        """One of them was killed and does not end: nobody waits for it any longer."""
        if self._killed_at is None or time.monotonic() - self._killed_at < self._kill_seconds:
            return False
        return any(process.poll() is None for process in self._processes)

    def terminate(self) -> None:
        """SIGTERM lets them write a checkpoint."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends every process of their sessions."""
        if self._killed_at is None:
            self._killed_at = time.monotonic()
        for process in self._processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def close(self) -> int:
        """Kills what is left, and returns the exit status: the first bad one, if there is one."""
        self.is_alive()
        self.kill()
        statuses = [self._wait(process) for process in self._processes]
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        self._spares.vacate(self._taken)
        return self._bad_end if self._bad_end is not None else next(filter(None, statuses), 0)

    def _start(self, assignment: Assignment) -> subprocess.Popen[bytes]:
        self._taken += 1
        spare = self._spares.take(assignment)
        process = spare or _start_process(assignment)
        log.info("trainer_started", pid=process.pid, spare=spare is not None)
        return process

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        killed_at = self._killed_at or time.monotonic()
        try:
            return process.wait(max(0.0, killed_at + self._kill_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL


def _start_process(assignment: Assignment) -> subprocess.Popen[bytes]:
    with assignment.log_path.open("ab") as log_file:
        return start_trainer(
            [str(assignment.work_dir)], output=log_file, errors=subprocess.STDOUT, variables=assignment.variables
        )


def _make_variables(devices: list[str]) -> list[dict[str, str]]:
    """What tells each process its rank, as `torch.distributed` reads it."""
    if len(devices) < 2:
        return [{"CUDA_VISIBLE_DEVICES": device} for device in devices] or [{}]
    group = {"WORLD_SIZE": str(len(devices)), "MASTER_ADDR": LOCALHOST, "MASTER_PORT": str(_find_free_port())}
    return [group | {"RANK": str(rank), "CUDA_VISIBLE_DEVICES": device} for rank, device in enumerate(devices)]


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOCALHOST, 0))
        port: int = listener.getsockname()[1]
        return port
