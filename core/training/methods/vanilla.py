"""Plain fine-tuning: cross-entropy alone."""

from torch import Tensor

from core.inference.classifier import Classifier
from core.training.losses import CrossEntropy
from core.training.methods.base import Batch, Method


class Vanilla(Method):
    num_views = 1

    def __init__(self, classifier: Classifier, criterion: CrossEntropy, *, keeps_statistics: bool = False) -> None:
        super().__init__(keeps_statistics=keeps_statistics)
        self.query = classifier
        self.criterion = criterion

    @property
    def classifier(self) -> Classifier:
        return self.query

    def compute_losses(self, batch: Batch, part: slice) -> dict[str, Tensor]:
        return {"loss": self.criterion(self.query(batch.views[0][part]), batch.labels[part])}
