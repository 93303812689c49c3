"""What an upload costs the API: `python -m benchmarks.uploading --mib 2048`.

The archive goes through HTTP into the store, so that the disk needs as much space.
"""

import argparse
import json

from benchmarks.large_upload import MEBIBYTE, measure_upload
from benchmarks.stack import run_servers
from core.storage import Storage

WANTED_GROWTH_MB = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=2048)
    size_mib = parser.parse_args().mib
    with run_servers() as settings:
        allowing = settings.model_copy(update={"max_upload_bytes": size_mib * MEBIBYTE})
        Storage.from_settings(allowing).ensure_bucket()
        measured = measure_upload(allowing, size_mib=size_mib)
    print(
        json.dumps(
            {
                "mib": size_mib,
                "seconds": round(measured.seconds, 1),
                "mib_per_second": round(size_mib / measured.seconds, 1),
                "growth_mb": round(measured.growth_bytes / 1e6, 1),
                "wanted_growth_mb": WANTED_GROWTH_MB,
                "written_mb": round(measured.written_bytes / 1e6, 1),
                "new_files": sorted(measured.new_files),
            }
        )
    )


if __name__ == "__main__":
    main()
