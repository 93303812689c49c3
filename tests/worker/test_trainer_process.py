"""A trainer in two ranks, as the worker starts it, with no GPU to see."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.trainer_protocol import ExitCode, Line, Metrics, Progress
from tests.conditions import wait_until
from tests.core.training.jobs import BI_TUNING, make_job, make_spec
from tests.trainers import find_trainer_pids
from worker.spares import Spares
from worker.trainer_process import TrainerProcess

NO_GPUS = ["", ""]
PATIENCE_SECONDS = 120


class Watched:
    """A trainer that counts the steps it has said."""

    def __init__(self, work_dir: Path, *, epochs: int) -> None:
        self.steps = 0
        self.status: int | None = None  # once it is closed
        job = make_job(work_dir, make_spec(BI_TUNING, epochs=epochs))
        self.process = TrainerProcess(work_dir, job, devices=NO_GPUS, spares=Spares(work_dir), on_progress=self._take)

    def _take(self, line: Progress) -> None:
        if line.stage == "training":
            self.steps = line.step

    def wait_for_step(self) -> None:
        wait_until(lambda: self.steps > 0, seconds=PATIENCE_SECONDS)

    def read_lines(self) -> list[Line]:
        lines = []
        while not self.process.is_done():
            line = self.process.next_line(0.1)
            lines += [] if line is None else [line]
        return lines


@contextmanager
def started(work_dir: Path, *, epochs: int) -> Iterator[Watched]:
    watched = Watched(work_dir, epochs=epochs)
    try:
        yield watched
    finally:
        watched.status = watched.process.close()


def test_ranks_finish_together_and_one_talks(tmp_path: Path) -> None:
    with started(tmp_path, epochs=2) as it:
        lines = it.read_lines()

    assert it.status == ExitCode.OK
    assert [line.step for line in lines if isinstance(line, Metrics)] == [3, 6]
    assert [line.type for line in lines].count("finished") == 1


def test_rank_that_dies_takes_the_others_with_it(tmp_path: Path) -> None:
    with started(tmp_path, epochs=10_000) as it:
        it.wait_for_step()
        os.kill(it.process.pids[1], signal.SIGKILL)
        it.read_lines()

    assert it.status not in (ExitCode.OK, ExitCode.INTERRUPTED)


def test_ranks_that_are_stopped_leave_one_checkpoint(tmp_path: Path) -> None:
    with started(tmp_path, epochs=10_000) as it:
        it.wait_for_step()
        it.process.terminate()
        lines = it.read_lines()

    assert it.status == ExitCode.INTERRUPTED
    assert [line.type for line in lines].count("checkpoint_saved") == 1


def test_rank_that_cannot_be_started_leaves_none_behind(tmp_path: Path) -> None:
    job = make_job(tmp_path, make_spec(BI_TUNING))

    with pytest.raises(ValueError, match="null byte"):
        TrainerProcess(tmp_path, job, devices=["", "\0"], spares=Spares(tmp_path), on_progress=lambda _: None)

    assert find_trainer_pids(tmp_path) == []
