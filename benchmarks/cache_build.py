"""How fast a job's pixel cache is built: `python -m benchmarks.cache_build`, beside a bare parallel decode in turn.

The bare loop decodes the same pictures with as many threads as there are cores, and keeps nothing.
"""

import argparse
import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from rich.console import Console

from benchmarks.made_dataset import make_dataset
from core.dataset_index import INDEX_FILE, SHARDS_DIR, IndexEntry, read_index
from core.inference.backbone_catalog import describe_backbone
from core.inference.preprocessing import make_preprocessing
from core.training.cache import CacheSource, open_cache

SOUGHT_RATIO = 0.5
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    rows = []
    for side in options.sides:
        with tempfile.TemporaryDirectory(prefix="bitune-benchmark-") as name:
            folder = Path(name)
            make_dataset(folder, num_classes=4, per_class=options.pictures // 4, side=side)
            entries = read_index(folder / INDEX_FILE)
            pairs = [
                (_time_bare(folder, entries), _time_build(folder, entries, number, options.image_size))
                for number in range(options.rounds)
            ]
        row = {
            "side": side,
            "image_size": options.image_size,
            "bare_per_second": round(len(entries) / median(bare for bare, _ in pairs)),
            "built_per_second": round(len(entries) / median(built for _, built in pairs)),
            "ratio": round(median(bare / built for bare, built in pairs), 2),
        }
        console.print(row)
        rows.append(row)
    print(json.dumps(rows))
    print(f"ratio={min(row['ratio'] for row in rows):.2f} sought={SOUGHT_RATIO}")


def _time_bare(folder: Path, entries: list[IndexEntry]) -> float:
    def decode(entry: IndexEntry) -> None:
        with (folder / SHARDS_DIR / entry.shard).open("rb") as file:
            file.seek(entry.offset)
            content = file.read(entry.size_bytes)
        Image.open(BytesIO(content)).convert("RGB")

    began_at = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(decode, entries):
            pass
    return time.monotonic() - began_at


def _time_build(folder: Path, entries: list[IndexEntry], number: int, image_size: int) -> float:
    preprocessing = make_preprocessing(describe_backbone("tf_efficientnet_lite0"), image_size)
    is_train = np.array([entry.split == "train" for entry in entries])
    source = CacheSource(folder, entries, preprocessing, wants_square=~is_train, wants_canvas=is_train)
    began_at = time.monotonic()
    open_cache(folder / f"cache-{number}", source, on_progress=lambda _: None)
    return time.monotonic() - began_at


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument("--sides", type=int, nargs="+", default=[300, 1024])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
