"""A dataset as the service would have imported it, for as long as a benchmark lasts."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.accuracy.contest import Place
from benchmarks.accuracy.folds import HELD_OUT_SHARE
from core.ingest.child import run_ingest
from core.ingest.limits import IngestLimits
from core.ingest.protocol import OUT_DIR, IngestJob


@contextmanager
def open_place(write: Callable[[Path], None], weights: Path, *, num_threads: int) -> Iterator[Place]:
    """Imports what `write` makes an archive of, and decodes nothing yet."""
    with tempfile.TemporaryDirectory(prefix="bitune-accuracy-") as name:
        folder = Path(name)
        archive = folder / "pictures.zip"
        write(archive)
        job = IngestJob(archive=archive, limits=IngestLimits(), test_fraction=HELD_OUT_SHARE)
        imported = run_ingest(job, folder, should_stop=lambda: False, on_progress=lambda _: None)
        archive.unlink()
        yield Place(
            dataset_dir=folder / OUT_DIR,
            classes=[counts.name for counts in imported.classes],
            cache_dir=folder / "cache",
            weights=weights,
            num_threads=num_threads,
            commit=_find_commit(),
        )


def _find_commit() -> str:
    """With a plus where what decides a result differs from it; empty where there is no git or no checkout."""
    if shutil.which("git") is None:
        return ""
    changed = _ask_git("status", "--porcelain", "--", ":/core", ":/benchmarks/accuracy")
    return _ask_git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")


def _ask_git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return answer.stdout.strip()
