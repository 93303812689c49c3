"""Bare steps of a network until a time is over: `python -m benchmarks.bare_steps SIDE SECONDS` prints milliseconds.

Forward and backward of a backbone with random weights in eval mode; the median, without the first.
"""

import statistics
import sys
import time

import torch

from core.inference.classifier import create_backbone
from core.inference.freed_memory import keep_freed_memory

BATCH_SIZE = 48
MIN_STEPS = 4


def main() -> None:
    print(time_steps(int(sys.argv[1]), seconds=float(sys.argv[2])))


def time_steps(image_size: int, *, seconds: float) -> float:
    """Milliseconds a step."""
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
    return statistics.median(durations[1:])


if __name__ == "__main__":
    main()
