"""A training's steps where others need the cores too: `python -m benchmarks.shared_cores`.

Bare steps alone, beside a loop that keeps one core busy, and beside another such training on all cores; in turn with
what the worker tells a trainer's OpenMP and without it.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Literal, assert_never, get_args

from rich.console import Console
from rich.table import Table

from worker.trainer_start import BRIEF_SPINS

Neighbour = Literal["nobody", "a busy loop", "a training"]
Environment = dict[str, str]
DEFAULT_SPINS: Environment = {}
FOREVER = "inf"
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    table = Table("px", "beside", "ms a step, OpenMP's default", "as the worker starts trainers", "ratio")
    ratios = []
    for image_size in options.image_sizes:
        for neighbour in get_args(Neighbour):
            pairs = [_measure_pair(neighbour, image_size, options.seconds) for _ in range(options.pairs)]
            default, brief = (median(side) for side in zip(*pairs, strict=True))
            ratios.append(median(one / other for one, other in pairs))
            table.add_row(str(image_size), neighbour, f"{default:.0f}", f"{brief:.0f}", f"{ratios[-1]:.2f}")
    console.print(table)
    print(f"least_ratio={min(ratios):.2f} largest_ratio={max(ratios):.2f}")


def _measure_pair(neighbour: Neighbour, image_size: int, seconds: float) -> tuple[float, float]:
    """Milliseconds a step without and with brief spins."""
    return (
        _measure(neighbour, image_size, seconds, DEFAULT_SPINS),
        _measure(neighbour, image_size, seconds, BRIEF_SPINS),
    )


def _measure(neighbour: Neighbour, image_size: int, seconds: float, spins: Environment) -> float:
    environment = {name: value for name, value in os.environ.items() if name not in BRIEF_SPINS} | spins
    with _beside(neighbour, image_size, environment):
        command = _make_command(image_size, str(seconds))
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


@contextmanager
def _beside(neighbour: Neighbour, image_size: int, environment: Environment) -> Iterator[None]:
    """For as long as the block lasts."""
    match neighbour:
        case "nobody":
            yield
            return
        case "a busy loop":
            command = [sys.executable, "-c", "while True: pass"]
        case "a training":
            command = _make_command(image_size, FOREVER)
        case _:
            assert_never(neighbour)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _make_command(image_size: int, seconds: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.bare_steps", str(image_size), seconds]


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each training")
    parser.add_argument("--pairs", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
