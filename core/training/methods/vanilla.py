"""Plain fine-tuning: cross-entropy alone."""

from torch import Tensor
from torch.nn import functional

from core.inference.classifier import Classifier
from core.training.methods.base import Method


class Vanilla(Method):
    num_views = 1

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.query = classifier

    @property
    def classifier(self) -> Classifier:
        return self.query

    def begin_step(self) -> None:
        """Nothing but the classifier has a state."""

    def compute_losses(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(self.query(views[0]).float(), labels)}
