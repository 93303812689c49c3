"""Imports one archive as the worker does, and says how long it took and how much memory it used."""

import json
import resource
import sys
import time
from pathlib import Path

from core.ingest.child import IngestJob, run_ingest
from core.ingest.limits import IngestLimits

DECODERS = 2  # as the settings have it


def main(archive: Path, work_dir: Path) -> None:
    job = IngestJob(archive=archive, limits=IngestLimits(decoders=DECODERS), test_fraction=0.2)
    began_at = time.monotonic()
    run_ingest(job, work_dir, should_stop=lambda: False, on_progress=lambda _: None)
    seconds = time.monotonic() - began_at
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak_rss_kb": used.ru_maxrss}
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
