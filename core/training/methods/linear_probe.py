"""Only the head learns: what the pre-trained features are worth as they are."""

from typing import Self

from core.inference.classifier import Classifier
from core.training.losses import CrossEntropy
from core.training.methods.vanilla import Vanilla


class LinearProbe(Vanilla):
    def __init__(self, classifier: Classifier, criterion: CrossEntropy) -> None:
        super().__init__(classifier, criterion)
        classifier.backbone.requires_grad_(requires_grad=False)

    def train(self, mode: bool = True) -> Self:
        """The backbone keeps its batch-norm statistics."""
        super().train(mode)
        self.query.backbone.eval()
        return self
