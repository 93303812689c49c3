"""Step times of plain fine-tuning and of Bi-tuning in turn, beside the least that each could take."""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from benchmarks.stepping import Shape, Stepper, Stopwatch
from core.specs import BiTuningSpec, VanillaSpec

WARM_UP_STEPS = 2


class Cost(NamedTuple):
    backbone: str
    image_size: int
    num_classes: int
    batch_size: int
    precision: str
    vanilla_images_per_second: float
    bi_tuning_images_per_second: float
    ratio: float  # of the step times, the median of the pairs
    vanilla_of_limit: float  # bare forward and backward by the step
    of_limit: float  # bare forward, backward and forward by the step of Bi-tuning
    shares: dict[str, float]  # of Bi-tuning's step
    memory_mb: float | None  # of the device at most, by Bi-tuning


def measure(shape: Shape, weights: Path, device: torch.device, pairs: int, *, compiled: bool = False) -> Cost:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    vanilla = Stepper(shape, VanillaSpec(), weights, device, compiled=compiled)
    bi_tuning = Stepper(shape, BiTuningSpec(), weights, device, compiled=compiled)
    steps = 10 if device.type == "cuda" else 2
    batch = vanilla.read()
    actions: dict[str, Callable[[], None]] = {
        "vanilla": vanilla.step,
        "bi-tuning": bi_tuning.step,
        "forward and backward": lambda: vanilla.forward_and_backward(batch.views[0], batch.labels),
        "forward": lambda: bi_tuning.forward(batch.views[0]),
    }
    seconds = _time_in_turn(actions, steps, pairs, device)
    limit = median(seconds["forward and backward"])
    limit_of_ours = limit + median(seconds["forward"])
    shares = _take_apart(bi_tuning, limit, device)
    of_vanilla, of_ours = median(seconds["vanilla"]), median(seconds["bi-tuning"])
    return Cost(
        *shape,
        vanilla_images_per_second=round(shape.batch_size / of_vanilla, 1),
        bi_tuning_images_per_second=round(shape.batch_size / of_ours, 1),
        ratio=round(median(b / a for a, b in zip(seconds["vanilla"], seconds["bi-tuning"], strict=True)), 3),
        vanilla_of_limit=round(limit / of_vanilla, 3),
        of_limit=round(limit_of_ours / of_ours, 3),
        shares={part: round(share, 4) for part, share in shares.items()},
        memory_mb=round(torch.cuda.max_memory_allocated() / 2**20) if device.type == "cuda" else None,
    )


def _time_in_turn(
    actions: dict[str, Callable[[], None]], steps: int, rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of one step of each, by round; what slows the machine for a while slows all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            took = _time(action, steps if number else WARM_UP_STEPS, device)
            if number:
                seconds[name].append(took)
    return seconds


def _time(action: Callable[[], None], steps: int, device: torch.device) -> float:
    watch = Stopwatch(device)
    with watch.measure("all"):
        for _ in range(steps):
            action()
    return watch.seconds["all"] / steps


def _take_apart(stepper: Stepper, limit: float, device: torch.device, steps: int = 5) -> dict[str, float]:
    """Shares of a step; what forward and backward take beyond the bare network are the heads and losses."""
    watch = Stopwatch(device)
    began_at = time.perf_counter()
    for _ in range(steps):
        stepper.step_in_parts(watch)
    total = time.perf_counter() - began_at
    parts = {part: seconds / total for part, seconds in watch.seconds.items()}
    return parts | {"heads and losses": max(0.0, parts["forward and backward"] - steps * limit / total)}
