"""A training step where others need the cores too: `python -m benchmarks.shared_cores`.

In turn with the environment that the worker gives its trainers and without what it says about OpenMP: alone, beside a
loop that keeps one core busy, and beside another training on all of them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Literal, get_args

import torch
from rich.console import Console
from rich.table import Table

from core.inference.classifier import create_backbone
from core.inference.freed_memory import keep_freed_memory
from worker.trainer_start import SHORT_SPINS

BATCH_SIZE = 48
MIN_STEPS = 3
Neighbour = Literal["nobody", "a busy loop", "a training"]
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    if options.train:
        print(train(options.image_size, seconds=options.seconds))
        return
    table = Table("px", "beside", "ms a step, as OpenMP spins", "as the trainer spins", "ratio")
    ratios = []
    for image_size in options.image_sizes:
        for neighbour in get_args(Neighbour):
            plain, short = (
                measure(neighbour, image_size, spins, seconds=options.seconds) for spins in ({}, SHORT_SPINS)
            )
            ratios.append(plain / short)
            table.add_row(str(image_size), neighbour, f"{plain:.0f}", f"{short:.0f}", f"{plain / short:.2f}")
    console.print(table)
    print(f"worst={min(ratios):.2f} best={max(ratios):.2f}")


def measure(neighbour: Neighbour, image_size: int, spins: dict[str, str], *, seconds: float) -> float:
    """Milliseconds a step."""
    environment = {name: value for name, value in os.environ.items() if name not in SHORT_SPINS} | spins
    command = [sys.executable, "-m", "benchmarks.shared_cores", "--seconds", str(seconds), "--train"]
    command += ["--image-size", str(image_size)]
    with ExitStack() as stack:
        match neighbour:
            case "nobody":
                pass
            case "a busy loop":
                stack.callback(_end, subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            case "a training":
                stack.callback(_end, subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def train(image_size: int, *, seconds: float) -> float:
    """Steps of plain fine-tuning on random weights; the median in milliseconds."""
    keep_freed_memory()
    network = create_backbone("tf_efficientnet_lite0").to(memory_format=torch.channels_last).eval()
    images = torch.randn(BATCH_SIZE, 3, image_size, image_size).to(memory_format=torch.channels_last)
    durations: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(durations) < MIN_STEPS:
        began_at = time.perf_counter()
        network.zero_grad(set_to_none=True)
        network(images).square().mean().backward()
        durations.append(1000 * (time.perf_counter() - began_at))
    return statistics.median(durations)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each training")
    parser.add_argument("--train", action="store_true", help="what is measured; prints milliseconds")
    parser.add_argument("--image-size", type=int, default=64, help="of --train")
    return parser.parse_args()


if __name__ == "__main__":
    main()
