"""Opens one archive as the importer does, in the sandboxed child; sees what it took and if it kept to its place."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from core.dataset_index import INDEX_FILE, IndexEntry, read_index
from core.ingest.child import IngestResult, run_ingest
from core.ingest.errors import ImportRejectedError, IngestCrashedError
from core.ingest.limits import IngestLimits
from core.ingest.protocol import IngestJob
from tests.abuse.measuring.sitecustomize import PEAK_PREFIX
from tests.abuse.verdict import Got

MEASURING = Path(__file__).parent / "measuring"
LIMITS = IngestLimits(cpu_seconds=60, wall_seconds=90, decoders=2)  # what is honest takes a second or two
UNCONTROLLED = frozenset({"archive_unreadable", "import_timeout"})  # it ran into the last net
DECODER_DIED = "image_decode_crashed"  # a picture that breaks its decoder is left out alone
CANARY = b"canary:5f1c27a9"  # stands beside the archive, where no import may look
Case = TypeVar("Case")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Opened:
    """How one import ended."""

    got: Got
    code: str  # of a refusal
    message: str
    result: IngestResult | None
    entries: tuple[IndexEntry, ...]
    seconds: float
    rss_mb: float


def open_archive(content: bytes, limits: IngestLimits = LIMITS) -> Opened:
    with tempfile.TemporaryDirectory(prefix="abuse-") as folder:
        return _Opening(Path(folder), content, limits).open()


def map_side_by_side(function: Callable[[Case], Answer], cases: list[Case]) -> Iterator[Answer]:
    """In the order of the cases, one a core at a time; the children report their peaks meanwhile."""
    with _measuring(), ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from threads.map(function, cases)


@contextmanager
def _measuring() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(MEASURING), *([before] if before else [])])
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before:
            os.environ["PYTHONPATH"] = before


class _Opening:
    def __init__(self, folder: Path, content: bytes, limits: IngestLimits) -> None:
        self._folder = folder
        self._work_dir = folder / "work"
        self._work_dir.mkdir()
        (folder / "archive").write_bytes(content)
        (folder / "canary").write_bytes(CANARY)
        self._job = IngestJob(archive=folder / "archive", limits=limits, test_fraction=0.2)

    def open(self) -> Opened:
        started = time.monotonic()
        got, code, message, result = self._run()
        seconds = time.monotonic() - started
        entries = tuple(read_index(result.files[INDEX_FILE])) if result else ()
        if self._has_leaked():
            got = "leak"
        return Opened(got, code, message, result, entries, seconds, self._read_peak())

    def _run(self) -> tuple[Got, str, str, IngestResult | None]:
        try:
            result = run_ingest(self._job, self._work_dir, should_stop=lambda: False, on_progress=lambda _: None)
        except ImportRejectedError as exc:
            return ("crash" if exc.code in UNCONTROLLED else "refuse"), exc.code, exc.message, None
        except IngestCrashedError as exc:
            return "crash", "traceback", str(exc), None
        if DECODER_DIED in result.report_summary.num_findings:
            return "crash", DECODER_DIED, "", result
        return "accept", "", "", result

    def _has_leaked(self) -> bool:
        """Something stands outside of the work folder, is no plain file, or holds what stood outside."""
        if {path.name for path in self._folder.iterdir()} != {"archive", "canary", "work"}:
            return True
        written = [path for path in self._work_dir.rglob("*") if not path.is_dir() or path.is_symlink()]
        return any(path.is_symlink() or CANARY in path.read_bytes() for path in written)

    def _read_peak(self) -> float:
        """Of the child and the children it has; 0 where it was killed."""
        log = (self._work_dir / "ingest.log").read_text(errors="replace")
        peaks = [line.removeprefix(PEAK_PREFIX) for line in log.splitlines() if line.startswith(PEAK_PREFIX)]
        return sum(int(peak) for peak in peaks) / 1024
