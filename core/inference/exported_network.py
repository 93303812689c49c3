"""What `weights.safetensors` holds: a classifier, and what tells unknown pictures."""

from typing import NamedTuple

from torch import Tensor, nn

from core.inference.classifier import Classifier
from core.inference.novelty import Novelty, create_novelty


class Outputs(NamedTuple):
    logits: Tensor  # (N, C)
    unknown_scores: Tensor | None  # (N,)


class ExportedNetwork(nn.Module):
    """Shares the classifier's modules; its state dict is the file."""

    def __init__(self, classifier: Classifier, novelty: Novelty | None = None) -> None:
        super().__init__()
        self.backbone = classifier.backbone
        self.head = classifier.head
        self.novelty = novelty

    def forward(self, images: Tensor) -> Outputs:
        """(N, 3, S, S); one pass through the backbone serves both."""
        return self.judge(self.backbone(images))

    def judge(self, features: Tensor) -> Outputs:
        """Pooled features (N, d), float32."""
        scores = None if self.novelty is None else self.novelty(features)
        return Outputs(self.head(features), scores)


def frame(classifier: Classifier, state: dict[str, Tensor]) -> ExportedNetwork:
    """The network that `state` can be loaded into; its classifier is the one given."""
    novelty = create_novelty(state, classifier.head.in_features)
    return ExportedNetwork(classifier, None if novelty is None else novelty.to(classifier.head.weight.device))
