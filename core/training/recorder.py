"""Says what happens, as lines to the worker; where there is no worker, to standard output."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from core.trainer_protocol import LINES_FIFO, Line, Progress, encode_line

PROGRESS_SECONDS = 0.4


class Recorder:
    """Progress is thinned to a few lines a second; everything else goes out at once."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._next_progress_at = 0.0

    def say(self, line: Line) -> None:
        self._out.write(encode_line(line))
        self._out.flush()

    def say_progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next_progress_at:
            self._next_progress_at = now + PROGRESS_SECONDS
            self.say(progress)


@contextmanager
def open_silent_recorder() -> Iterator[Recorder]:
    """For the ranks that do not talk."""
    with Path(os.devnull).open("wb") as out:
        yield Recorder(out)


@contextmanager
def open_recorder(work_dir: Path) -> Iterator[Recorder]:
    fifo = work_dir / LINES_FIFO
    if not fifo.exists():
        yield Recorder(sys.stdout.buffer)
        return
    with fifo.open("wb", buffering=0) as out:
        yield Recorder(out)
