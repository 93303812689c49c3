"""The processes that train one model together, one a GPU; a single process is a group of one.

Every rank holds the same weights, queues and counters; only its share of each batch is its own. What is gathered
comes in rank order, so every rank does the same with it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """The first rank writes and talks for all."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Its part of a batch; what cannot be shared evenly is left out."""
        count = batch_size // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def gather(self, values: Tensor) -> Tensor:
        """(B, …) of every rank, joined in rank order to (W · B, …)."""
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """In place, all of them in one call."""
        if self.size == 1:
            return
        kept = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in kept])
        distributed.all_reduce(flat)
        flat /= self.size
        for tensor, part in zip(kept, flat.split([tensor.numel() for tensor in kept]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is true on any rank: what one must do, all do."""
        if self.size == 1:
            return flag
        count = torch.tensor(float(flag), device=device)
        distributed.all_reduce(count)
        return bool(count > 0)


@contextmanager
def join_ranks(device: torch.device) -> Iterator[Ranks]:
    """By the variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; alone when they are not set."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(rank=distributed.get_rank(), size=size)
    finally:
        distributed.destroy_process_group()
