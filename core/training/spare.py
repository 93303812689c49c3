"""A trainer that has imported what every job needs, and waits to be told which one is its own. It serves that one."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from core.trainer_protocol import SPARE_BEGINS, SPARE_IS_READY, Assignment, ExitCode
from core.training.parent import STANDARD_INPUT, die_with_parent

STANDARD_OUTPUT = 1
STANDARD_ERROR = 2
OPEN_FILES = Path("/proc/self/fd")
GPU_FILES = "/dev/nvidia"


def wait_for_assignment() -> Path:
    """Becomes what the worker starts for a job: with its environment and log. Leaves when the worker does."""
    die_with_parent()
    if _has_touched_gpu():
        sys.exit(ExitCode.INTERNAL)
    os.write(STANDARD_OUTPUT, SPARE_IS_READY)
    line = _read_line()
    if not line.endswith(b"\n"):
        sys.exit(ExitCode.INTERRUPTED)
    assignment = Assignment.model_validate_json(line)
    os.environ.update(assignment.variables)
    _move_output(assignment.log_path)
    return assignment.work_dir


def _has_touched_gpu() -> bool:
    """From then on CUDA sees the GPUs it saw first, whatever CUDA_VISIBLE_DEVICES says later."""
    if not OPEN_FILES.is_dir():
        return False
    for path in OPEN_FILES.iterdir():
        with suppress(FileNotFoundError):  # the folder itself, closed meanwhile
            if str(path.readlink()).startswith(GPU_FILES):
                return True
    return False


def _read_line() -> bytes:
    """Without its end when the pipe has closed. No byte beyond it is taken: the rest is for who follows the parent."""
    with os.fdopen(STANDARD_INPUT, "rb", buffering=0, closefd=False) as stream:
        return stream.readline()


def _move_output(log_path: Path) -> None:
    log_file = os.open(log_path, os.O_WRONLY | os.O_APPEND)
    os.write(STANDARD_OUTPUT, SPARE_BEGINS)
    os.dup2(log_file, STANDARD_ERROR)
    os.dup2(log_file, STANDARD_OUTPUT)
    os.close(log_file)
