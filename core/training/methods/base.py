"""What every method is to the trainer."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from core.inference.classifier import Classifier


class Method(nn.Module, ABC):
    """Networks and state of one method. The trainer knows nothing else of it."""

    num_views: int

    @property
    @abstractmethod
    def classifier(self) -> Classifier:
        """What is validated and exported."""

    @abstractmethod
    def compute_losses(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """`loss` and its parts for `num_views` normalised views (B, 3, S, S) of the same samples."""

    @abstractmethod
    def slow_parameters(self) -> list[nn.Parameter]:
        """Pre-trained parameters and the projector: they learn at a tenth of the head's rate."""

    def fast_parameters(self) -> list[nn.Parameter]:
        return list(self.classifier.head.parameters())
