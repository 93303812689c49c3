"""`model.json`: all that is needed to use the weights beside it, and where they come from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from core.inference.preprocessing import Preprocessing
from core.specs import ResolvedSpec
from core.trainer_protocol import Lineage

CARD_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"


class Evaluation(BaseModel):
    """How good the model is on one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Literal["test", "val"]  # "val" where the dataset keeps no test split: training chose by it, so optimistic
    num_samples: int
    accuracy: float
    loss: float
    confusion: list[list[int]]  # [true class][predicted class], in the order of `classes`


class ModelCard(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    classes: list[str]
    backbone: str
    backbone_sha256: str
    num_features: int
    preprocessing: Preprocessing
    weights_sha256: str
    metrics: dict[str, float]
    evaluation: Evaluation
    spec: ResolvedSpec
    lineage: Lineage | None  # None when the trainer was run by hand
