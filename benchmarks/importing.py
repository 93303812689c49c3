"""How fast archives are imported: `python -m benchmarks.importing`.

The import process as the worker starts it, in turn with a bare loop that reads the same zip, decodes each picture with
Pillow and hashes its pixels in as many processes as there are cores, and keeps nothing: each with its start.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

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
    bare_cpu_us: float  # processor time a picture, which others on the machine change least
    import_cpu_us: float


class Run(NamedTuple):
    seconds: float
    cpu_seconds: float
    peak_rss_mb: float


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
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 128, 224, 300])
    parser.add_argument("--rounds", type=int, default=3, help="pairs of bare loop and import; the median counts")
    return parser.parse_args()


def _measure(archive: Path, side: int, options: argparse.Namespace) -> tuple[Speed, Memory]:
    pairs = []
    for number in range(options.rounds):
        bare, imported = _run_bare_loop(archive), _run_import(archive)
        pairs.append((bare, imported))
        console.print(f"{side} px, round {number}: bare {bare.seconds:.2f} s, import {imported.seconds:.2f} s")
    speed = Speed(
        side=side,
        pictures=options.pictures,
        bare_per_second=round(options.pictures / median(bare.seconds for bare, _ in pairs)),
        import_per_second=round(options.pictures / median(imported.seconds for _, imported in pairs)),
        ratio=round(median(bare.seconds / imported.seconds for bare, imported in pairs), 2),
        bare_cpu_us=round(1e6 * median(bare.cpu_seconds for bare, _ in pairs) / options.pictures),
        import_cpu_us=round(1e6 * median(imported.cpu_seconds for _, imported in pairs) / options.pictures),
    )
    return speed, Memory(side, options.pictures, round(max(imported.peak_rss_mb for _, imported in pairs), 1))


def _measure_memory(archive: Path, side: int) -> Memory:
    with zipfile.ZipFile(archive) as members:
        pictures = len(members.namelist())
    return Memory(side, pictures, round(_run_import(archive).peak_rss_mb, 1))


def _run_import(archive: Path) -> Run:
    """In a process of its own, whose largest child is what the system then tells."""
    with tempfile.TemporaryDirectory(prefix="bitune-benchmark-") as work_dir:
        command = [sys.executable, "-m", "benchmarks.one_import", str(archive), work_dir]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    return Run(said["seconds"], said["cpu_seconds"], said["peak_rss_kb"] / 1024)


def _run_bare_loop(archive: Path) -> Run:
    began_at, before = time.monotonic(), _read_cpu_seconds()
    subprocess.run([sys.executable, "-m", "benchmarks.bare_import", str(archive)], check=True)
    return Run(time.monotonic() - began_at, _read_cpu_seconds() - before, 0)


def _read_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
