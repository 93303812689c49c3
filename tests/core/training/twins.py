"""The losses and the queue, written straight from the formulas: slow, obvious, a sample at a time."""

import math

from torch import Tensor


class TwinQueue:
    """A list of at most K keys a class."""

    def __init__(self, num_classes: int, queue_size: int) -> None:
        self.slots: list[list[Tensor | None]] = [[None] * queue_size for _ in range(num_classes)]
        self.pointers = [0] * num_classes

    def enqueue(self, keys: Tensor, labels: list[int]) -> None:
        for key, label in zip(keys, labels, strict=True):
            queue = self.slots[label]
            queue[self.pointers[label]] = key
            self.pointers[label] = (self.pointers[label] + 1) % len(queue)

    def keys_of(self, label: int) -> list[Tensor]:
        return [key for key in self.slots[label] if key is not None]

    def copy(self) -> "TwinQueue":
        twin = TwinQueue(len(self.slots), len(self.slots[0]))
        twin.slots, twin.pointers = [list(queue) for queue in self.slots], list(self.pointers)
        return twin


def twin_contrast(anchor: Tensor, own: Tensor, queue: TwinQueue, label: int, temperature: float) -> float:
    """−1/(1+v) · [log p(own) + Σ over the v keys of the class of log p(key)]"""
    everyone = [own] + [key for other in range(len(queue.slots)) for key in queue.keys_of(other)]
    denominator = sum(math.exp(float(anchor @ key) / temperature) for key in everyone)
    positives = [own, *queue.keys_of(label)]
    log_p = [math.log(math.exp(float(anchor @ key) / temperature) / denominator) for key in positives]
    return -sum(log_p) / len(positives)


def twin_ccl(queries: Tensor, own_keys: Tensor, queue: TwinQueue, labels: list[int], temperature: float) -> float:
    """L_CCL: the anchor is the query, its own candidate is its own key."""
    losses = [twin_contrast(queries[i], own_keys[i], queue, label, temperature) for i, label in enumerate(labels)]
    return sum(losses) / len(losses)


def twin_cce(features: Tensor, class_weights: Tensor, queue: TwinQueue, labels: list[int], temperature: float) -> float:
    """L_CCE: the anchor is the weight of the class, its own candidate is the query."""
    losses = [
        twin_contrast(class_weights[label], features[i], queue, label, temperature) for i, label in enumerate(labels)
    ]
    return sum(losses) / len(losses)
