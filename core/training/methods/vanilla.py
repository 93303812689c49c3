"""Plain fine-tuning: cross-entropy alone."""

from torch import Tensor, nn
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

    def compute_losses(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(self.query(views[0]).float(), labels)}

    def slow_parameters(self) -> list[nn.Parameter]:
        return list(self.query.backbone.parameters())
