"""Step times of plain fine-tuning and of Bi-tuning in turn, beside the least that each could take."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from benchmarks.stepping import Shape, Stepper, Stopwatch
from core.specs import BiTuningSpec, VanillaSpec
from core.training.methods.base import Batch

WARM_UP_STEPS = 2
TAKEN_APART_STEPS = 8


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
    shares: dict[str, float]  # of Bi-tuning's step; data is reading, copying and cropping
    memory_mb: float | None  # of the device, by Bi-tuning alone


def measure(shape: Shape, weights: Path, device: torch.device, pairs: int, *, compiled: bool = False) -> Cost:
    memory_mb = _measure_memory(shape, weights, device, compiled=compiled) if device.type == "cuda" else None
    vanilla = Stepper(shape, VanillaSpec(), weights, device, compiled=compiled)
    bi_tuning = Stepper(shape, BiTuningSpec(), weights, device, compiled=compiled)
    batch = vanilla.read()
    actions: dict[str, Callable[[], None]] = {
        "vanilla": vanilla.step,
        "bi-tuning": bi_tuning.step,
        "forward and backward": lambda: vanilla.forward_and_backward(batch.views[0], batch.labels),
        "forward": lambda: bi_tuning.forward(batch.views[0]),
    }
    rounds = _time_in_turn(actions, 10 if device.type == "cuda" else 2, pairs, device)
    return Cost(
        *shape,
        vanilla_images_per_second=round(shape.batch_size / median(one["vanilla"] for one in rounds), 1),
        bi_tuning_images_per_second=round(shape.batch_size / median(one["bi-tuning"] for one in rounds), 1),
        ratio=round(median(one["bi-tuning"] / one["vanilla"] for one in rounds), 3),
        vanilla_of_limit=round(median(one["forward and backward"] / one["vanilla"] for one in rounds), 3),
        of_limit=round(median((one["forward and backward"] + one["forward"]) / one["bi-tuning"] for one in rounds), 3),
        shares={part: round(share, 4) for part, share in _take_apart(bi_tuning, batch, device).items()},
        memory_mb=memory_mb,
    )


def _measure_memory(shape: Shape, weights: Path, device: torch.device, *, compiled: bool) -> float:
    """At most, of Bi-tuning alone."""
    stepper = Stepper(shape, BiTuningSpec(), weights, device, compiled=compiled)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(WARM_UP_STEPS):
        stepper.step()
    return round(torch.cuda.max_memory_allocated() / 2**20)


def _time_in_turn(
    actions: dict[str, Callable[[], None]], steps: int, rounds: int, device: torch.device
) -> list[dict[str, float]]:
    """Seconds of one step of each, by round; what slows the machine for a while slows all of them."""
    for action in actions.values():
        _time(action, WARM_UP_STEPS, device)
    return [{name: _time(action, steps, device) for name, action in actions.items()} for _ in range(rounds)]


def _time(action: Callable[[], None], steps: int, device: torch.device) -> float:
    watch = Stopwatch(device)
    with watch.measure("all"):
        for _ in range(steps):
            action()
    return watch.seconds["all"] / steps


def _take_apart(stepper: Stepper, batch: Batch, device: torch.device) -> dict[str, float]:
    """Shares of a step. What forward and backward take beyond the bare network, timed in turn, are heads and losses."""
    watch, bare = Stopwatch(device), Stopwatch(device)
    for _ in range(TAKEN_APART_STEPS):
        stepper.step_in_parts(watch)
        with bare.measure("network"):
            stepper.forward_and_backward(batch.views[0], batch.labels)
    parts = dict(watch.seconds)
    network = bare.seconds["network"]
    parts |= {"network": network, "heads and losses": parts.pop("forward and backward") - network}
    total = sum(parts.values())
    return {part: seconds / total for part, seconds in parts.items()}
