"""`model.json`: all that is needed to use the weights beside it, and where they come from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from core.inference.preprocessing import Preprocessing
from core.specs import EncoderName, ResolvedSpec
from core.trainer_protocol import Lineage

CARD_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
MIN_AGREEMENT = 0.95  # of predict with the evaluation; a model below it is not served


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClassScores(_Frozen):
    """Of one class, against the rest; a ratio of nothing is 0."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int  # samples that are of the class


class Mistake(_Frozen):
    sample_id: str
    path: str  # in the archive
    label: str
    predicted: str
    probability: float  # of what was predicted


class Confusion(_Frozen):
    label: str
    predicted: str
    count: int


class Comparison(_Frozen):
    """A baseline, trained with the same budget, on the same samples."""

    method: str
    accuracy: float
    accuracy_difference: float  # the model's accuracy minus the baseline's
    interval: tuple[float, float]  # 95 % of the difference, paired


class Evaluation(_Frozen):
    """How good the model is on one split."""

    split: Literal["test", "val"]  # "val" where the dataset keeps no test split: training chose by it, so optimistic
    num_samples: int
    accuracy: float
    accuracy_interval: tuple[float, float]  # 95 %
    loss: float  # after calibration
    calibration_error: float  # expected, of the top label, after calibration
    calibration_error_before: float
    classes: list[ClassScores]
    confusion_matrix: list[list[int]] | None  # [true class][predicted class]; None where the classes are many
    most_confused: list[Confusion]
    worst_mistakes: list[Mistake]  # those that the model was surest of
    comparisons: list[Comparison]  # with `compare_to_baseline`


class Parity(_Frozen):
    """What predict answers for some pictures of the evaluated split, beside what the evaluation said of them."""

    num_samples: int
    agreement: float  # share with the same likeliest label
    largest_difference: float  # of any probability

    @property
    def is_sufficient(self) -> bool:
        return self.agreement >= MIN_AGREEMENT

    def describe(self) -> str:
        otherwise = round((1 - self.agreement) * self.num_samples)
        return f"predict labelled {otherwise} of {self.num_samples} pictures otherwise than the evaluation did"


class ModelCard(_Frozen):
    format_version: int = 1
    classes: list[str]
    backbone: str
    backbone_sha256: str
    num_features: int
    preprocessing: Preprocessing
    weights_sha256: str
    encoder: EncoderName  # which one was better on validation
    temperature: float  # that logits are divided by, fitted on validation: probabilities are calibrated
    conformal_scores: list[float] = []  # of validation, see core.inference.conformal; cards before 2026-11-29 have none
    unknown_threshold: float | None = None  # of core.inference.novelty; None where the weights hold no keys
    metrics: dict[str, float]
    evaluation: Evaluation
    parity: Parity | None = None  # cards before 2026-11-29 have none
    spec: ResolvedSpec
    lineage: Lineage | None  # None when the trainer was run by hand
