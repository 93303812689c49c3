"""One process that waits to become a job's trainer."""

import os
import select
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import IO

from core.trainer_protocol import SPARE_BEGINS, SPARE_IS_READY, WAIT_FLAG, Assignment
from worker.trainer_start import start_trainer

IMPORT_SECONDS = 120.0  # after which one that is not ready hangs
ANSWER_SECONDS = 2.0
END_SECONDS = 5.0
READ_BYTES = 4096


class Spare:
    """Started with the environment of every trainer of this worker, and no job of its own."""

    def __init__(self, folder: Path) -> None:
        self._code_version = metadata.version("bitune")
        self._late_at = time.monotonic() + IMPORT_SECONDS
        self._said = b""
        # What goes wrong while it starts, a trainer that is started in its place says into its job's log.
        self._process = start_trainer(
            [WAIT_FLAG, str(folder)], output=subprocess.PIPE, errors=subprocess.DEVNULL, variables={}
        )
        self._input, self._output = _require(self._process.stdin), _require(self._process.stdout)
        os.set_blocking(self._output.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_ready(self) -> bool:
        """Whether it has imported everything."""
        if not self._said.endswith(SPARE_IS_READY):
            self._said += self._output.read(READ_BYTES) or b""
        return self._said.endswith(SPARE_IS_READY)

    def is_unfit(self) -> bool:
        """It has died, or hangs in its imports."""
        return self._process.poll() is not None or (not self.is_ready() and time.monotonic() > self._late_at)

    def assign(self, assignment: Assignment) -> subprocess.Popen[bytes] | None:
        """Its process, the caller's from now on, once it has answered.

        None when it does not, or when its code was replaced on the disk since it was started.
        """
        if self._code_version != metadata.version("bitune"):
            return None
        try:
            self._input.write(assignment.model_dump_json().encode() + b"\n")
        except BrokenPipeError:
            return None
        select.select([self._output], [], [], ANSWER_SECONDS)
        if self._output.read(READ_BYTES) != SPARE_BEGINS:
            return None
        self._output.close()
        return self._process

    def end(self) -> int | None:
        """Its status; None when it cannot be killed."""
        self._process.kill()
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        self._input.close()
        self._output.close()
        return status


def _require(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("a spare has been started without its pipes")
    return stream
