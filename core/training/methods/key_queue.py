"""The last K keys of every class, overwritten in turn."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class KeyQueue(nn.Module):
    """Persistent buffers alone, so that `state_dict()` is the whole truth of it."""

    keys: Tensor  # (C, K, D); zeros where `valid` says that nothing was written yet
    pointers: Tensor  # (C,) the slot that is written next
    counts: Tensor  # (C,) slots filled, at most K

    def __init__(self, *, num_classes: int, queue_size: int, width: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.queue_size = queue_size
        self.register_buffer("keys", torch.zeros(num_classes, queue_size, width))
        self.register_buffer("pointers", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))

    def fill_with_noise(self, generator: torch.Generator) -> None:
        """Random unit keys everywhere, as the authors' code starts."""
        noise = torch.randn(self.keys.shape, generator=generator)
        self.keys.copy_(functional.normalize(noise, dim=2))
        self.counts.fill_(self.queue_size)

    @property
    def valid(self) -> Tensor:
        """(C, K) bool: slots fill from the first on, so the count says which are filled."""
        return torch.arange(self.queue_size, device=self.counts.device) < self.counts.unsqueeze(1)

    @torch.no_grad()
    def enqueue(self, keys: Tensor, labels: Tensor) -> None:
        """Appends keys (B, D) to the queues of their labels (B,) in batch order; of more than K the last stay."""
        same_class = labels.unsqueeze(1) == labels  # (B, B)
        ranks = same_class.tril(diagonal=-1).sum(dim=1)  # (B,) place within its class
        slots = (self.pointers[labels] + ranks) % self.queue_size
        # Samples that meet in a slot all write what the last of them brings: no order to depend on, no host to ask.
        same_slot = same_class & (slots.unsqueeze(1) == slots)
        last = (same_slot * torch.arange(len(labels), device=labels.device)).amax(dim=1)
        self.keys[labels, slots] = keys[last].to(self.keys.dtype)
        added = torch.zeros_like(self.counts).index_add_(0, labels, torch.ones_like(labels))
        self.pointers.add_(added).remainder_(self.queue_size)
        self.counts.add_(added).clamp_(max=self.queue_size)
