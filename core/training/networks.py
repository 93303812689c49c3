"""The networks that methods train: a pre-trained backbone, a classifier head, and a projector beside it."""

from pathlib import Path

import torch
from timm.models import get_pretrained_cfg
from torch import Tensor, nn
from torch.nn import functional

from core.errors import InvalidInputError
from core.inference.backbone_weights import load_backbone
from core.inference.classifier import Classifier
from core.specs import BackboneDescription, ResolvedBiTuningSpec

HEAD_STD = 0.01


class Encoder(nn.Module):
    """Classifier and projector on the same pooled features."""

    def __init__(self, classifier: Classifier, spec: ResolvedBiTuningSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.classifier = classifier
        self.projector = build_projector(classifier.head.in_features, spec, generator)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), unit projections z (B, L), unit bias-extended features (B, d + 1)."""
        features = self.classifier.backbone(images)  # (B, d)
        logits = self.classifier.head(features)
        projections = functional.normalize(self.projector(features).float(), dim=1)
        return logits, projections, extend(features.float())


def build_projector(num_features: int, spec: ResolvedBiTuningSpec, generator: torch.Generator) -> nn.Sequential:
    """(B, d) to (B, L): one layer as in the authors' code, or MoCo v2's two (arXiv 2003.04297)."""
    layers: list[nn.Module] = [_make_linear(num_features, spec.projection_dim, generator)]
    if spec.projector == "mlp":
        layers = [_make_linear(num_features, num_features, generator), nn.ReLU(), *layers]
    return nn.Sequential(*layers)


def _make_linear(width: int, out_width: int, generator: torch.Generator) -> nn.Linear:
    linear = nn.Linear(width, out_width)
    bound = width**-0.5  # what torch draws a linear layer from
    nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
    nn.init.uniform_(linear.bias, -bound, bound, generator=generator)
    return linear


def extend(features: Tensor) -> Tensor:
    """[h ; 1] / ‖[h ; 1]‖ (B, d + 1), so that a class's weight and bias are one vector."""
    ones = torch.ones_like(features[:, :1])
    return functional.normalize(torch.cat([features, ones], dim=1), dim=1)


def build_classifier(
    backbone: BackboneDescription, weights: Path, *, image_size: int, num_classes: int, generator: torch.Generator
) -> Classifier:
    """The pre-trained backbone with a fresh head; raises InvalidInputError when weights or size are not its own."""
    _check_size(backbone, image_size)
    network = load_backbone(backbone.name, weights)
    classifier = Classifier(network, num_features=backbone.num_features, num_classes=num_classes)
    nn.init.normal_(classifier.head.weight, std=HEAD_STD, generator=generator)
    nn.init.zeros_(classifier.head.bias)
    return classifier


def _check_size(backbone: BackboneDescription, image_size: int) -> None:
    config = get_pretrained_cfg(backbone.name)
    if config is not None and config.fixed_input_size and image_size != backbone.image_size:
        raise InvalidInputError(
            "image_size_unsupported",
            f"'{backbone.name}' takes pictures of {backbone.image_size} pixels only, not {image_size}",
            hint='leave `image_size` at "auto"',
            param="training.image_size",
        )
