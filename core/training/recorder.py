"""Says what happens, as lines to the worker; where there is no worker, to standard output."""

import sys
import time
from pathlib import Path
from typing import BinaryIO

from core.trainer_protocol import LINES_FIFO, Line, Progress, encode_line

PROGRESS_SECONDS = 0.5


class Recorder:
    """Progress is thinned to a few lines a second; everything else goes out at once."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._next_progress = 0.0

    @classmethod
    def open(cls, work_dir: Path) -> "Recorder":
        fifo = work_dir / LINES_FIFO
        return cls(fifo.open("wb") if fifo.exists() else sys.stdout.buffer)

    def say(self, line: Line) -> None:
        self._out.write(encode_line(line))
        self._out.flush()

    def say_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_SECONDS
            self.say(progress)
