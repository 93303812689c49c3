"""What timm says of a backbone."""

from timm.data.config import resolve_model_data_config

from core.inference.classifier import count_features, create_backbone
from core.specs import BackboneDescription


def describe_backbone(name: str) -> BackboneDescription:
    """Raises InvalidInputError for a name that timm does not know."""
    backbone = create_backbone(name)
    config = resolve_model_data_config(backbone)
    image_size = config["input_size"][1]
    return BackboneDescription(
        name=name,
        image_size=image_size,
        mean=config["mean"],
        std=config["std"],
        interpolation="bicubic" if config["interpolation"] == "bicubic" else "bilinear",
        crop_pct=config["crop_pct"],
        num_features=count_features(backbone, image_size),
        num_parameters=sum(parameter.numel() for parameter in backbone.parameters()),
    )
