"""The importer's side of the child process: starts it, follows it, ends it, and reads what it made."""

import errno
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, assert_never

from pydantic import ValidationError

from core.dataset_index import INDEX_FILE, SHARDS_DIR, THUMBNAILS_DIR
from core.ingest.errors import ImportRejectedError, IngestCrashedError, IngestStoppedError
from core.ingest.protocol import (
    EXIT_NO_SPACE,
    EXIT_OUT_OF_MEMORY,
    JOB_FILE,
    OUT_DIR,
    OUTCOME,
    RESULT_FILE,
    IngestJob,
    IngestProgress,
    Packed,
    Rejected,
)
from core.ingest.report import FINDINGS_FILE, REPORT_FILE, ClassCounts, ReportSummary
from core.sample_table import SAMPLES_FILE

__all__ = ["IngestJob", "IngestProgress", "IngestResult", "run_ingest"]

POLL_SECONDS = 0.2
READ_BYTES = 65_536
EXIT_SECONDS = 10.0
LOG_FILE = "ingest.log"
LOG_TAIL_CHARS = 2000
KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LD_LIBRARY_PATH")  # no secret is among them
KILLED_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each would reserve address space
KEPT_HEAP = {  # glibc would give the pixels of each picture back to the system: a fifth of an import's time
    "MALLOC_MMAP_THRESHOLD_": str(32 * 1024**2),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024**2),
}


@dataclass(frozen=True)
class IngestResult:
    num_samples: int
    classes: list[ClassCounts]
    size_bytes: int
    report_summary: ReportSummary
    files: dict[str, Path]  # by their name below the dataset's prefix


def run_ingest(
    job: IngestJob,
    work_dir: Path,
    *,
    should_stop: Callable[[], bool],
    on_progress: Callable[[IngestProgress], None],
) -> IngestResult:
    """Raises ImportRejectedError, IngestStoppedError, IngestCrashedError, or OSError without space on the disk.

    The calling thread waits for the child.
    """
    (work_dir / JOB_FILE).write_text(job.model_dump_json())
    with _child(work_dir) as process:
        _follow(process, time.monotonic() + job.limits.wall_seconds, should_stop, on_progress)
        status = _wait(process)
    _check_status(status, work_dir / LOG_FILE)
    return _read_result(work_dir)


@contextmanager
def _child(work_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (work_dir / LOG_FILE).open("wb") as log_file:
        process = subprocess.Popen(
            [sys.executable, "-m", "core.ingest", str(work_dir.absolute())],
            stdin=subprocess.PIPE,  # the child leaves when this pipe closes: with us
            stdout=subprocess.PIPE,
            stderr=log_file,
            env={name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ} | ONE_THREAD | KEPT_HEAP,
            start_new_session=True,
        )
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _follow(
    process: subprocess.Popen[bytes],
    deadline: float,
    should_stop: Callable[[], bool],
    on_progress: Callable[[IngestProgress], None],
) -> None:
    """Returns at the end of the child's output."""
    lines = _Lines(on_progress)
    with selectors.DefaultSelector() as selector:
        output = _get_output(process)
        selector.register(output, selectors.EVENT_READ)
        while True:
            if should_stop():
                raise IngestStoppedError
            if time.monotonic() > deadline:
                raise ImportRejectedError("import_timeout", "the import takes too long", hint="split the dataset")
            if selector.select(POLL_SECONDS):
                chunk = os.read(output.fileno(), READ_BYTES)
                if not chunk:
                    return
                lines.add(chunk)


class _Lines:
    """Takes the child's output apart; the child may be in a stranger's hands, so it is bounded and checked."""

    def __init__(self, on_progress: Callable[[IngestProgress], None]) -> None:
        self._on_progress = on_progress
        self._pending = b""

    def add(self, chunk: bytes) -> None:
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        try:
            for line in lines:
                self._on_progress(IngestProgress.model_validate_json(line))
        except ValidationError as exc:
            raise _unreadable() from exc
        if len(self._pending) > READ_BYTES:
            raise _unreadable()


def _get_output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdout is None:
        raise IngestCrashedError("the child has no output")
    return process.stdout


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired as exc:
        raise _unreadable() from exc


def _check_status(status: int, log_path: Path) -> None:
    """A signal is what its limits or a broken decoder end it with, but for those that somebody sends: the kernel
    without memory, or who ends the worker. A traceback is ours."""
    if -status in KILLED_FROM_OUTSIDE:
        raise IngestCrashedError(f"the child was killed by {signal.Signals(-status).name}")
    if status < 0 or status == EXIT_OUT_OF_MEMORY:
        raise _unreadable()
    if status == EXIT_NO_SPACE:
        raise OSError(errno.ENOSPC, "the disk is full", str(log_path.parent))
    if status != 0:
        raise IngestCrashedError(log_path.read_text(errors="replace")[-LOG_TAIL_CHARS:])


def _read_result(work_dir: Path) -> IngestResult:
    outcome = OUTCOME.validate_json((work_dir / RESULT_FILE).read_bytes())
    match outcome:
        case Packed():
            return IngestResult(
                num_samples=outcome.num_samples,
                classes=outcome.classes,
                size_bytes=outcome.size_bytes,
                report_summary=outcome.report_summary,
                files=_find_files(work_dir / OUT_DIR, outcome),
            )
        case Rejected():
            raise ImportRejectedError(outcome.code, outcome.message, hint=outcome.hint)
        case _:
            assert_never(outcome)


def _find_files(out_dir: Path, packed: Packed) -> dict[str, Path]:
    """Under the names that we expect, not those that the child says."""
    names = [INDEX_FILE, REPORT_FILE, FINDINGS_FILE, SAMPLES_FILE]
    for directory, count in ((SHARDS_DIR, packed.num_shards), (THUMBNAILS_DIR, packed.num_thumbnail_shards)):
        names += [f"{directory}/{number}.tar" for number in range(count)]
    files = {name: out_dir / name for name in names}
    if any(path.is_symlink() or not path.is_file() for path in files.values()):
        raise _unreadable()
    return files


def _unreadable() -> ImportRejectedError:
    return ImportRejectedError(
        "archive_unreadable",
        "opening the archive took too much memory or time, or broke its reader",
        hint="make the archive again; leave out what is no picture",
    )
