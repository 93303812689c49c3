import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from core.errors import InvalidInputError
from core.trainer_protocol import (
    LINES_FIFO,
    TASK_FILE,
    CheckpointSaved,
    ExitCode,
    Failed,
    Line,
    TrainerJob,
    decode_line,
)
from core.training.errors import DivergedError
from core.training.run import describe, run
from tests.core.training.jobs import VANILLA, make_job, make_spec

PATIENCE_SECONDS = 60


def write_job(directory: Path, job: TrainerJob) -> Path:
    (directory / TASK_FILE).write_text(job.model_dump_json())
    return directory


@contextmanager
def started(work_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A trainer as the worker starts it, with its standard input as the sign of life."""
    with subprocess.Popen(
        [sys.executable, "-m", "core.training", str(work_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"BITUNE_PARENT_PIPE": "1"},
    ) as process:
        yield process
        process.kill()


def wait_for_step(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    for raw in process.stdout:
        line = decode_line(raw)
        if line.type == "progress" and line.stage == "training":
            return


def read_rest(process: subprocess.Popen[bytes]) -> list[Line]:
    assert process.stdout is not None
    return [decode_line(raw) for raw in process.stdout]


def test_sigterm_writes_a_checkpoint_and_says_interrupted(tmp_path: Path) -> None:
    work_dir = write_job(tmp_path, make_job(tmp_path, make_spec(VANILLA, epochs=10_000)))

    with started(work_dir) as process:
        wait_for_step(process)
        process.send_signal(signal.SIGTERM)
        lines = read_rest(process)
        status = process.wait(PATIENCE_SECONDS)

    assert status == ExitCode.INTERRUPTED
    assert isinstance(lines[-1], CheckpointSaved)
    assert all((lines[-1].directory / name).is_file() for name in lines[-1].files)


def test_trainer_leaves_when_its_worker_is_gone(tmp_path: Path) -> None:
    work_dir = write_job(tmp_path, make_job(tmp_path, make_spec(VANILLA, epochs=10_000)))

    with started(work_dir) as process:
        wait_for_step(process)
        assert process.stdin is not None
        process.stdin.close()
        read_rest(process)
        status = process.wait(PATIENCE_SECONDS)

    assert status == ExitCode.INTERRUPTED


@pytest.fixture
def sigterm() -> Iterator[None]:
    """`run` takes the signal for itself."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("sigterm")
def test_user_error_is_said_through_the_fifo(tmp_path: Path) -> None:
    spec = make_spec(VANILLA)
    job = make_job(tmp_path, spec)
    job.weights_path.write_bytes(b"not weights")
    os.mkfifo(tmp_path / LINES_FIFO)
    reader = os.open(tmp_path / LINES_FIFO, os.O_RDWR | os.O_NONBLOCK)

    status = run(write_job(tmp_path, job))
    lines = [decode_line(raw) for raw in os.read(reader, 65_536).splitlines()]
    os.close(reader)

    assert status == ExitCode.USER_ERROR
    assert isinstance(lines[-1], Failed)
    assert lines[-1].code == "weights_unreadable"


@pytest.mark.usefixtures("sigterm")
def test_broken_job_file_is_an_internal_error(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / TASK_FILE).write_text("{}")

    assert run(tmp_path) == ExitCode.INTERNAL


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError("x", "y"), ExitCode.USER_ERROR),
        (DivergedError("nan"), ExitCode.DIVERGED),
        (MemoryError(), ExitCode.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.NO_SPACE),
        (OSError(errno.EIO, "Input/output error"), ExitCode.INTERNAL),
        (torch.OutOfMemoryError("CUDA out of memory"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), ExitCode.OUT_OF_MEMORY),
        (RuntimeError("anything else"), ExitCode.INTERNAL),
    ],
)
def test_every_error_has_its_exit_code(error: Exception, code: ExitCode) -> None:
    assert describe(error)[1] == code
