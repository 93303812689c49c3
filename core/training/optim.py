"""The optimizer of the reference recipe, and the schedule of its rate."""

import math

import torch

from core.training.methods.base import Method

SLOW_SHARE = 0.1  # what was pre-trained, and the projector, learn at a tenth of the head's rate
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
WARM_UP_SHARE = 0.05


def build_optimizer(method: Method, *, learning_rate: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum and weight decay on everything, as in the authors' code."""
    head = list(method.classifier.head.parameters())
    in_head = {id(parameter) for parameter in head}
    others = [value for value in method.parameters() if value.requires_grad and id(value) not in in_head]
    groups = [{"params": others, "share": SLOW_SHARE}, {"params": head, "share": 1.0}]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)


def set_learning_rate(optimizer: torch.optim.SGD, *, base: float, step: int, total_steps: int) -> None:
    """A function of the step alone, so there is no schedule to restore."""
    factor = schedule(step, total_steps)
    for group in optimizer.param_groups:
        group["lr"] = base * group["share"] * factor


def schedule(step: int, total_steps: int) -> float:
    """Linear warm-up over the first steps, then a cosine towards zero."""
    warm_up = max(1, round(WARM_UP_SHARE * total_steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total_steps - warm_up)))
