"""What every method is to the trainer."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from core.inference.classifier import Classifier


class Method(nn.Module, ABC):
    """Networks and state of one method; `state_dict()` is the whole truth of it. The trainer knows nothing else."""

    num_views: int

    @property
    @abstractmethod
    def classifier(self) -> Classifier:
        """What is validated and exported."""

    @abstractmethod
    def begin_step(self) -> None:
        """Comes once an optimizer step, before the losses of its batch."""

    @abstractmethod
    def compute_losses(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """`loss` and its parts by name, for `num_views` normalised views (B, 3, S, S) of the same samples."""
