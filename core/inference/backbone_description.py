"""What is known of a backbone without loading it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class BackboneDescription(BaseModel):
    """How a backbone is built and wants its pictures; `name` is timm's."""

    model_config = ConfigDict(frozen=True)

    name: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"]
    crop_pct: float
    num_features: int
    num_parameters: int
