"""The processes of one trainer: one a GPU, a single one on a CPU. They end together."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from core.trainer_protocol import ExitCode

GOOD_ENDS = (None, ExitCode.OK, ExitCode.INTERRUPTED)  # not ended yet, done, or obeying: the others end by themselves
LOCALHOST = "127.0.0.1"
KILL_SECONDS = 10.0  # after which a killed process hangs in the kernel, as in a driver
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


class Ranks:
    """Each leads a session of its own, so that all of it can be killed, and dies with the thread that starts it."""

    def __init__(
        self, work_dir: Path, log_path: Path, devices: list[str], *, kill_seconds: float = KILL_SECONDS
    ) -> None:
        """`devices`: CUDA_VISIBLE_DEVICES of each process; none is one process that sees what we see."""
        self._bad_end: int | None = None
        self._kill_seconds = kill_seconds
        self._killed_at: float | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            with log_path.open("wb") as log_file:
                for variables in _make_variables(devices):
                    self._processes.append(_start_process(work_dir, log_file, variables))
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
        return self._bad_end if self._bad_end is not None else next(filter(None, statuses), 0)

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        killed_at = self._killed_at or time.monotonic()
        try:
            return process.wait(max(0.0, killed_at + self._kill_seconds - time.monotonic()))
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL


def _start_process(work_dir: Path, log_file: BinaryIO, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "core.training", str(work_dir)],
        stdin=subprocess.PIPE,  # the child leaves when this pipe closes: with us
        stdout=log_file,
        stderr=subprocess.STDOUT,
        env=_keep_environment() | variables,
        start_new_session=True,
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


def _keep_environment() -> dict[str, str]:
    """The trainer sees no secret of ours."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"BITUNE_PARENT_PIPE": "1", "PYTHONUNBUFFERED": "1"}
