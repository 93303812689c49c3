"""The network that predicts: a backbone of timm and a linear head."""

import timm
from torch import Tensor, nn


class Classifier(nn.Module):
    """Features of the backbone to logits."""

    def __init__(self, backbone: nn.Module, *, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(num_features, num_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to logits (N, C)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


def create_backbone(name: str) -> tuple[nn.Module, int]:
    """A backbone with random weights, to be loaded into, and the width of its pooled features."""
    backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return backbone, int(backbone.num_features)  # type: ignore[arg-type]  # timm sets it on every model
