"""The encoder that methods train: pre-trained backbone, classifier head, and a projector beside it."""

from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from core.errors import InvalidInputError
from core.inference.classifier import Classifier, create_backbone


class Encoder(nn.Module):
    """Classifier and projector on the same pooled features."""

    def __init__(self, classifier: Classifier, *, projection_dim: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.projector = nn.Linear(classifier.head.in_features, projection_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), unit projections z (B, L), unit bias-extended features (B, d + 1)."""
        features = self.classifier.backbone(images)  # (B, d)
        logits = self.classifier.head(features)
        projections = functional.normalize(self.projector(features).float(), dim=1)
        return logits, projections, extend(features.float())


def extend(features: Tensor) -> Tensor:
    """[h ; 1] / ‖[h ; 1]‖, so that a class's weight and bias are one vector (B, d + 1)."""
    ones = torch.ones_like(features[:, :1])
    return functional.normalize(torch.cat([features, ones], dim=1), dim=1)


def build_classifier(name: str, weights: Path, *, num_classes: int) -> Classifier:
    """The pre-trained backbone with a fresh head; raises InvalidInputError when the weights are not its own."""
    backbone, num_features = create_backbone(name)
    state = load_file(weights)
    pre_training_head = _classifier_prefixes(name)
    kept = {key: value for key, value in state.items() if not key.startswith(pre_training_head)}
    missing, unexpected = backbone.load_state_dict(kept, strict=False)
    if missing or unexpected:
        raise InvalidInputError(
            "backbone_mismatch",
            f"the stored weights are not those of '{name}': missing {missing[:5]}, unexpected {unexpected[:5]}",
            hint="register the backbone again with `bitune backbones add`",
        )
    return Classifier(backbone, num_features=num_features, num_classes=num_classes)


def _classifier_prefixes(name: str) -> tuple[str, ...]:
    """What of the weights belongs to the classes of the pre-training, and is left out knowingly."""
    named = timm.get_pretrained_cfg_value(name, "classifier") or ()
    return tuple(f"{prefix}." for prefix in ((named,) if isinstance(named, str) else named))
