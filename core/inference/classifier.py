"""The network that predicts: a backbone of timm and a linear head."""

import timm
import torch
from torch import Tensor, nn

from core.errors import InvalidInputError


class Classifier(nn.Module):
    """Features of the backbone to logits."""

    def __init__(self, backbone: nn.Module, *, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) to logits (N, C)."""
        logits: Tensor = self.head(self.backbone(images))
        return logits


def create_backbone(name: str) -> nn.Module:
    """Pooled features, random weights: to be loaded into."""
    if not timm.is_model(name):
        raise InvalidInputError("unknown_architecture", f"timm has no model '{name}'", hint="see timm.list_models()")
    backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0)
    return backbone


@torch.no_grad()
def count_features(backbone: nn.Module, image_size: int) -> int:
    """Width of the pooled features, by a look: timm's `num_features` means another layer in some families."""
    was_training = backbone.training
    features: Tensor = backbone.eval()(torch.zeros(1, 3, image_size, image_size))
    backbone.train(was_training)
    return features.shape[1]
