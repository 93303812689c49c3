"""Starts one trainer, reads what it says, and stops it."""

import os
import queue
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.trainer_protocol import LINES_FIFO, TASK_FILE, Line, Progress, Task, decode_line
from worker.ranks import KILL_SECONDS, Ranks
from worker.spares import Spares

POLL_SECONDS = 0.2
READ_BYTES = 65_536
LOG_FILE = "trainer.log"


class TrainerProcess:
    """A running `python -m core.training`, in as many ranks as devices. The thread that creates it waits for it."""

    def __init__(
        self,
        work_dir: Path,
        task: Task,
        *,
        devices: list[str],
        spares: Spares,
        on_progress: Callable[[Progress], None],
        kill_seconds: float = KILL_SECONDS,
    ) -> None:
        self.log_path = work_dir / LOG_FILE
        self._on_progress = on_progress
        self._status: int | None = None  # once it is closed
        self._heard_at = time.monotonic()
        self.has_stalled = False
        self._lines: queue.SimpleQueue[Line] = queue.SimpleQueue()
        (work_dir / TASK_FILE).write_text(task.model_dump_json())
        fifo = work_dir / LINES_FIFO
        os.mkfifo(fifo, mode=0o600)
        # Holding a write end too, the reader never sees an end of file before the processes are gone.
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            self._ranks = Ranks(work_dir, self.log_path, devices, spares, kill_seconds=kill_seconds)
        except BaseException:
            os.close(self._fifo)
            raise
        self._reader = threading.Thread(target=self._read, name="trainer-lines", daemon=True)
        self._reader.start()

    @property
    def pids(self) -> list[int]:
        return self._ranks.pids

    def next_line(self, timeout_seconds: float) -> Line | None:
        """The next line but progress; None when none came in time."""
        try:
            return self._lines.get(timeout=timeout_seconds)
        except queue.Empty:
            return None

    def is_done(self) -> bool:
        """Whether it has ended and every line of it was taken."""
        return not self.is_alive() and not self._reader.is_alive() and self._lines.empty()

    def is_alive(self) -> bool:
        return self._ranks.is_alive()

    @property
    def silent_seconds(self) -> float:
        """Since its last line."""
        return time.monotonic() - self._heard_at

    @property
    def is_stuck(self) -> bool:
        """It was killed and does not end."""
        return self._ranks.is_stuck

    def kill_stalled(self) -> None:
        self.has_stalled = True
        self._ranks.kill()

    def terminate(self) -> None:
        """Lets it write a checkpoint and end."""
        self._ranks.terminate()

    def kill(self) -> None:
        self._ranks.kill()

    def close(self) -> int:
        """Kills what is left, and returns the exit status; may come again."""
        if self._status is None:
            self._status = self._ranks.close()
            self._reader.join()
            os.close(self._fifo)
        return self._status

    def _read(self) -> None:
        buffer = b""
        while True:
            ended = not self._ranks.is_alive()
            ready, _, _ = select.select([self._fifo], [], [], 0 if ended else POLL_SECONDS)
            if not ready and ended:
                return
            if ready:
                *complete, buffer = (buffer + os.read(self._fifo, READ_BYTES)).split(b"\n")
                for raw in complete:
                    self._take(decode_line(raw))

    def _take(self, line: Line) -> None:
        self._heard_at = time.monotonic()
        if isinstance(line, Progress):
            self._on_progress(line)
        else:
            self._lines.put(line)
