"""The last K keys of every class, overwritten in turn."""

import torch
from torch import Tensor, nn


class KeyQueue(nn.Module):
    """Persistent buffers alone, so that `state_dict()` is the whole truth of it."""

    def __init__(self, *, num_classes: int, queue_size: int, width: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.queue_size = queue_size
        # One row more than C·K: what must not be kept is written there, which needs no host synchronisation.
        self.rows: Tensor
        self.pointers: Tensor
        self.counts: Tensor
        self.register_buffer("rows", torch.zeros(num_classes * queue_size + 1, width))
        self.register_buffer("pointers", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))

    @property
    def keys(self) -> Tensor:
        """(C, K, D); what `valid` does not mark is zero or stale."""
        return self.rows[:-1].view(self.num_classes, self.queue_size, -1)

    @property
    def valid(self) -> Tensor:
        """(C, K) bool: slots fill from the first on, so the count says which are filled."""
        return torch.arange(self.queue_size, device=self.counts.device) < self.counts.unsqueeze(1)

    @torch.no_grad()
    def enqueue(self, keys: Tensor, labels: Tensor) -> None:
        """Appends keys (B, D) to the queues of their labels (B,) in batch order; of more than K the last stay."""
        one_hot = nn.functional.one_hot(labels, self.num_classes)  # (B, C)
        totals = one_hot.sum(dim=0)  # (C,)
        ranks = one_hot.cumsum(dim=0).gather(1, labels.unsqueeze(1)).squeeze(1) - 1  # (B,) place within its class
        kept = ranks >= totals[labels] - self.queue_size
        slots = labels * self.queue_size + (self.pointers[labels] + ranks) % self.queue_size
        slots = torch.where(kept, slots, self.num_classes * self.queue_size)
        self.rows.index_copy_(0, slots, keys.to(self.rows.dtype))
        self.pointers.add_(totals).remainder_(self.queue_size)
        self.counts.add_(totals).clamp_(max=self.queue_size)
