"""The optimizer of the reference recipe, and the schedule of its rate."""

import math
from typing import assert_never

import torch

from core.specs import ResolvedOptimizationSpec
from core.training.methods.base import Method

SLOW_SHARE = 0.1  # what was pre-trained, and the projector, learn at a tenth of the head's rate
MOMENTUM = 0.9
STEP_SHARE = 0.6  # of the steps, after which the rate of the step schedule falls
STEP_FACTOR = 0.1


def build_optimizer(method: Method, spec: ResolvedOptimizationSpec) -> torch.optim.SGD:
    """SGD with Nesterov momentum and weight decay on everything, as in the authors' code."""
    head = list(method.classifier.head.parameters())
    in_head = {id(parameter) for parameter in head}
    others = [value for value in method.parameters() if value.requires_grad and id(value) not in in_head]
    groups = [{"params": others, "share": SLOW_SHARE}, {"params": head, "share": 1.0}]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=spec.learning_rate,
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=spec.weight_decay,
    )


def set_learning_rate(
    optimizer: torch.optim.SGD, spec: ResolvedOptimizationSpec, *, step: int, total_steps: int
) -> None:
    """A function of the step alone, so there is no schedule to restore."""
    factor = schedule(spec, step=step, total_steps=total_steps)
    for group in optimizer.param_groups:
        group["lr"] = spec.learning_rate * group["share"] * factor


def schedule(spec: ResolvedOptimizationSpec, *, step: int, total_steps: int) -> float:
    """Linear warm-up over the first steps; then a cosine towards zero, or a fall to a tenth."""
    warm_up = round(spec.warm_up_fraction * total_steps)
    if step < warm_up:
        return (step + 1) / warm_up
    match spec.schedule:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total_steps - warm_up)))
        case "step":
            return 1.0 if step < STEP_SHARE * total_steps else STEP_FACTOR
        case _:
            assert_never(spec.schedule)
