"""A dataset as the service would have imported it, for as long as a benchmark lasts."""

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
        )
