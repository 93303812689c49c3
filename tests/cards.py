"""Model cards as a job leaves them."""

from core.inference.model_card import Evaluation, ModelCard
from core.inference.preprocessing import make_preprocessing
from tests.core.training.jobs import BACKBONE, IMAGE_SIZE, VANILLA, describe, make_spec


def make_evaluation() -> Evaluation:
    return Evaluation(
        split="test",
        num_samples=1,
        accuracy=1,
        accuracy_interval=(0.2, 1),
        loss=0,
        calibration_error=0,
        calibration_error_before=0,
        classes=[],
        confusion_matrix=None,
        most_confused=[],
        worst_mistakes=[],
        comparisons=[],
    )


def make_card(*classes: str, temperature: float = 1.0) -> ModelCard:
    return ModelCard(
        classes=list(classes),
        backbone=BACKBONE,
        backbone_sha256="a" * 64,
        num_features=describe().num_features,
        preprocessing=make_preprocessing(describe(), IMAGE_SIZE),
        weights_sha256="b" * 64,
        encoder="query",
        temperature=temperature,
        metrics={},
        evaluation=make_evaluation(),
        spec=make_spec(VANILLA),
        lineage=None,
    )
