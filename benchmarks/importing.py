"""How fast archives are imported: `python -m benchmarks.importing`.

The import process as the worker starts it, in turn with a bare loop that reads the same zip, decodes each picture with
Pillow and hashes its pixels in as many processes as there are cores, and keeps nothing.
"""

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.made_archives import write_archive

SOUGHT_RATIO = 0.5
SOUGHT_GROWTH_MB = 64
console = Console(stderr=True)


class Speed(NamedTuple):
    side: int
    pictures: int
    bare_per_second: float
    import_per_second: float
    ratio: float


class Memory(NamedTuple):
    side: int
    pictures: int
    peak_rss_mb: float  # of the largest process of the import


def main() -> None:
    options = _parse_options()
    with tempfile.TemporaryDirectory(prefix="bitune-benchmark-") as folder:
        speeds, memories = [], []
        for side in options.sides:
            few = write_archive(Path(folder) / "few.zip", pictures=options.pictures // 10, side=side)
            many = write_archive(Path(folder) / "many.zip", pictures=options.pictures, side=side)
            memories.append(_measure_memory(few, side))
            speed, memory = _measure(many, side, options)
            speeds.append(speed)
            memories.append(memory)
    _report(speeds, memories)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--rounds", type=int, default=3, help="pairs of bare loop and import; the median counts")
    return parser.parse_args()


def _measure(archive: Path, side: int, options: argparse.Namespace) -> tuple[Speed, Memory]:
    rounds = []
    for number in range(options.rounds):
        bare = _run_bare_loop(archive)
        seconds, peak = _run_import(archive)
        rounds.append((bare, seconds, peak))
        console.print(f"{side} px, round {number}: bare {bare:.2f} s, import {seconds:.2f} s, peak {peak:.0f} MB")
    speed = Speed(
        side=side,
        pictures=options.pictures,
        bare_per_second=round(options.pictures / median(bare for bare, _, _ in rounds)),
        import_per_second=round(options.pictures / median(seconds for _, seconds, _ in rounds)),
        ratio=round(median(bare / seconds for bare, seconds, _ in rounds), 2),
    )
    return speed, Memory(side, options.pictures, round(max(peak for _, _, peak in rounds), 1))


def _measure_memory(archive: Path, side: int) -> Memory:
    with zipfile.ZipFile(archive) as members:
        pictures = len(members.namelist())
    return Memory(side, pictures, round(_run_import(archive)[1], 1))


def _run_import(archive: Path) -> tuple[float, float]:
    """In a process of its own, whose largest child is what the system then tells."""
    with tempfile.TemporaryDirectory(prefix="bitune-benchmark-") as work_dir:
        command = [sys.executable, "-m", "benchmarks.one_import", str(archive), work_dir]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    return said["seconds"], said["peak_rss_mb"]


def _run_bare_loop(archive: Path) -> float:
    count = os.cpu_count() or 1
    began_at = time.monotonic()
    with multiprocessing.get_context("fork").Pool(count) as pool:
        pool.starmap(_decode_share, [(archive, number, count) for number in range(count)])
    return time.monotonic() - began_at


def _decode_share(archive: Path, first: int, step: int) -> str:
    digest = ""
    with zipfile.ZipFile(archive) as members:
        for name in members.namelist()[first::step]:
            with Image.open(io.BytesIO(members.read(name))) as picture:
                digest = hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()
    return digest


def _report(speeds: list[Speed], memories: list[Memory]) -> None:
    for rows, fields in ((speeds, Speed._fields), (memories, Memory._fields)):
        table = Table(*(name.replace("_", " ") for name in fields))
        for row in rows:
            table.add_row(*map(str, row))
        console.print(table)
    growths = [many.peak_rss_mb - few.peak_rss_mb for few, many in zip(memories[::2], memories[1::2], strict=True)]
    print(json.dumps({"speeds": [row._asdict() for row in speeds], "memory": [row._asdict() for row in memories]}))
    console.print(f"sought: a ratio of {SOUGHT_RATIO}, growth below {SOUGHT_GROWTH_MB} MB; growth: {growths}")


if __name__ == "__main__":
    main()
