"""What every method is to the trainer."""

from abc import ABC, abstractmethod
from typing import NamedTuple, Self

from torch import Tensor, nn

from core.inference.classifier import Classifier
from core.specs import EncoderName
from core.trainer_protocol import Note
from core.training.ranks import Ranks


class Batch(NamedTuple):
    """One rank's share of a step."""

    views: list[Tensor]  # as many as the method asks for, each normalised (B, 3, S, S)
    labels: Tensor  # (B,)

    def split(self, size: int) -> list[slice]:
        """Its micro-batches."""
        count = len(self.labels)
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]


class Method(nn.Module, ABC):
    """Networks and state of one method; `state_dict()` is the whole truth of it. The trainer knows nothing else.

    A step is `begin_step`, `encode_keys`, `enqueue_keys`, then `compute_losses` for each micro-batch.
    """

    num_views: int

    def __init__(self, *, keeps_statistics: bool = False) -> None:
        """`keeps_statistics`: batch norm goes on with what its backbone was pre-trained with, in training too."""
        super().__init__()
        self._keeps_statistics = keeps_statistics

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self._keeps_statistics:
            for module in self.modules():
                if _has_statistics(module):
                    module.eval()
        return self

    @property
    def keeps_statistics(self) -> bool:
        return self._keeps_statistics and any(_has_statistics(module) for module in self.modules())

    @property
    def moving_statistics(self) -> list[Tensor]:
        """What training moves beside the parameters: each rank by its own share of the batches."""
        if self._keeps_statistics:
            return []
        return [buffer for name, buffer in self.named_buffers() if "running_" in name]

    @property
    @abstractmethod
    def classifier(self) -> Classifier:
        """What learns."""

    @property
    def candidates(self) -> dict[EncoderName, Classifier]:
        """What is validated; the better is exported."""
        return {"query": self.classifier}

    @property
    def notes(self) -> list[Note]:
        """What a user should know before it starts."""
        return []

    def begin_step(self, step: int) -> None:
        """Comes once an optimizer step, before everything else of it."""

    def encode_keys(self, batch: Batch, micro_batch_size: int) -> None:
        """Everything that needs no gradient; may come again with a smaller micro-batch when memory ran out."""

    def enqueue_keys(self, labels: Tensor, ranks: Ranks) -> None:
        """Comes once a step, with this rank's labels (B,)."""

    @abstractmethod
    def compute_losses(self, batch: Batch, part: slice) -> dict[str, Tensor]:
        """`loss` and its parts by name: means over a micro-batch."""


def _has_statistics(module: nn.Module) -> bool:
    """Batch norm, and layers of timm that are none by their type."""
    return any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))
