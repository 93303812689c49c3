"""Which classes' keys a step looks at: all of them, or, where they are many, those of the batch and a random sample."""

from typing import NamedTuple

import torch
from torch import Tensor

from core.training.methods.key_queue import KeyQueue
from core.training.randomness import draw_class_scores

MAX_KEYS = 16_384  # of one queue, a step


class Candidates(NamedTuple):
    """Classes whose keys take part in a step."""

    classes: Tensor | None  # (M,) which they are; None: all
    log_weights: Tensor | None  # (M,) logarithm of how many classes each stands for; None: itself alone

    def copy(self, queue: KeyQueue) -> tuple[Tensor, Tensor]:
        """Their keys (M, K, D) as they are now, and which slots are filled (M, K)."""
        keys, valid = self.select(queue)
        return keys.clone() if self.classes is None else keys, valid

    def select(self, queue: KeyQueue) -> tuple[Tensor, Tensor]:
        """As `copy`, but good only until the next keys come in: all of a large queue is not copied every step."""
        if self.classes is None:
            return queue.keys, queue.valid
        return queue.keys[self.classes], queue.valid[self.classes]

    def locate(self, labels: Tensor, num_classes: int) -> Tensor:
        """Where the classes of the labels (B,) stand among them."""
        if self.classes is None:
            return labels
        places = torch.zeros(num_classes, dtype=torch.int64, device=labels.device)
        places[self.classes] = torch.arange(len(self.classes), device=labels.device)
        return places[labels]


def count_candidates(num_classes: int, queue_size: int, batch_size: int, max_keys: int = MAX_KEYS) -> int:
    """How many classes a step looks at: room for every class of the batch and as many others again."""
    return min(num_classes, max(max_keys // queue_size, 2 * batch_size))


def draw_candidates(labels: Tensor, *, num_classes: int, count: int, seed: int, step: int) -> Candidates:
    """The classes of the batch, and of the others as many as make `count`; the same on every rank.

    The sampled ones weigh as much as all of the others, so that the softmax's sum is right in the mean.
    """
    if count >= num_classes:
        return Candidates(classes=None, log_weights=None)
    scores = torch.from_numpy(draw_class_scores(num_classes, seed=seed, step=step)).to(labels.device)
    scores[labels] = -1.0  # first of all
    classes = scores.topk(count, largest=False).indices
    is_own = scores[classes] < 0
    num_own = is_own.sum()
    log_ratio = torch.log((num_classes - num_own) / (count - num_own))
    return Candidates(classes=classes, log_weights=torch.where(is_own, 0.0, log_ratio).float())
