"""Starts, reads and stops one trainer process. It leads a session of its own, so that all of it can be killed."""

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.trainer_protocol import JOB_FILE, LINES_FIFO, Line, Progress, TrainerJob, decode_line

POLL_SECONDS = 0.2
READ_BYTES = 65_536
LOG_FILE = "trainer.log"
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


class TrainerProcess:
    """A running `python -m core.training`. It dies with the thread that creates it, so that thread waits for it."""

    def __init__(self, work_dir: Path, job: TrainerJob, *, on_progress: Callable[[Progress], None]) -> None:
        self.log_path = work_dir / LOG_FILE
        self._on_progress = on_progress
        self._lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        (work_dir / JOB_FILE).write_text(job.model_dump_json())
        fifo = work_dir / LINES_FIFO
        os.mkfifo(fifo, mode=0o600)
        # Holding a write end too, the reader never sees an end of file before the process is gone.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        with self.log_path.open("wb") as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "core.training", str(work_dir)],
                stdin=subprocess.PIPE,  # the child leaves when this pipe closes: with us
                stdout=log_file,
                stderr=subprocess.STDOUT,
                env=_make_environment(),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="trainer-lines", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def next_line(self, timeout_seconds: float) -> Line | None:
        """The next line but progress; None when none came in time."""
        try:
            return self._lines.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def is_done(self) -> bool:
        """Whether the process has ended and every line of it was taken."""
        return self._process.poll() is not None and not self._reader.is_alive() and self._lines.empty()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM lets it write a checkpoint; what is left after the grace is killed."""
        if self.is_alive() and grace_seconds > 0:
            self._process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)  # Popen.wait would race with the thread that reaps it
        self.kill()

    def kill(self) -> None:
        """Ends every process of its session."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def close(self) -> int:
        """Kills what is left, and returns the exit status."""
        self.kill()
        status = self._process.wait()
        self._reader.join()
        if self._process.stdin is not None:
            self._process.stdin.close()
        os.close(self._fifo)
        return status

    def _read(self) -> None:
        buffer = b""
        while True:
            ended = self._process.poll() is not None
            ready, _, _ = select.select([self._fifo], [], [], 0 if ended else POLL_SECONDS)
            if not ready and ended:
                return
            if ready:
                *complete, buffer = (buffer + os.read(self._fifo, READ_BYTES)).split(b"\n")
                for raw in complete:
                    self._take(decode_line(raw))

    def _take(self, line: Line) -> None:
        if isinstance(line, Progress):
            self._on_progress(line)
        else:
            self._lines.put(line)


def _make_environment() -> dict[str, str]:
    """The trainer sees no secret of ours."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    return kept | {"BITUNE_PARENT_PIPE": "1", "PYTHONUNBUFFERED": "1"}
