"""`python -m core.ingest WORK_DIR`: one import, in a process that may do little."""

import errno
import sys
import time
from pathlib import Path

from core.disk import is_disk_full
from core.ingest import sandbox
from core.ingest.errors import DecodersDyingError, ImportRejectedError
from core.ingest.ingest import ingest
from core.ingest.protocol import (
    EXIT_NO_SPACE,
    EXIT_OUT_OF_MEMORY,
    JOB_FILE,
    OUT_DIR,
    RESULT_FILE,
    IngestJob,
    IngestProgress,
    Outcome,
    Rejected,
)

PROGRESS_SECONDS = 0.5


def main(work_dir: Path) -> None:
    """Exits with 0 when a result was written, whatever it says."""
    job = IngestJob.model_validate_json((work_dir / JOB_FILE).read_bytes())
    sandbox.enter(job.limits)
    try:
        outcome = _ingest(job, work_dir / OUT_DIR)
        (work_dir / RESULT_FILE).write_text(outcome.model_dump_json())
    except (MemoryError, DecodersDyingError):
        sys.exit(EXIT_OUT_OF_MEMORY)
    except OSError as exc:
        if exc.errno == errno.ENOMEM:  # a decoder could not be started
            sys.exit(EXIT_OUT_OF_MEMORY)
        if not is_disk_full(exc):
            raise
        sys.exit(EXIT_NO_SPACE)  # a traceback would find no space either, and change the status


def _ingest(job: IngestJob, out_dir: Path) -> Outcome:
    try:
        return ingest(job, out_dir, _ProgressPrinter().print)
    except ImportRejectedError as exc:
        return Rejected(code=exc.code, message=exc.message, hint=exc.hint)


class _ProgressPrinter:
    def __init__(self) -> None:
        self._printed_at = 0.0

    def print(self, progress: IngestProgress) -> None:
        if time.monotonic() - self._printed_at > PROGRESS_SECONDS:
            self._printed_at = time.monotonic()
            sys.stdout.write(progress.model_dump_json() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
