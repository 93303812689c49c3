"""Models on the wire."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.common import ApiModel
from core.db.tables import Model
from core.inference.model_card import Evaluation, ModelCard, Parity
from core.models import is_ready, read_parity
from core.specs import EncoderName


class ModelOut(ApiModel):
    """What `model.json` says, beside the row."""

    id: str
    object: Literal["model"] = "model"
    name: str | None
    job_id: str
    classes: list[str]
    backbone: str
    preprocessing: dict[str, Any]  # core.inference.preprocessing.Preprocessing
    is_ready: bool = Field(description="False where predict would refuse it: its `parity` is too low")
    is_warm: bool = Field(description="Whether the process that answers has it loaded; others may not")
    parity: Parity | None = Field(
        description="How far predict agrees with the evaluation on pictures of the test split; null for older models"
    )
    metrics: dict[str, Any]  # final metrics, and the confusion matrix where there is one
    lineage: dict[str, Any]  # core.trainer_protocol.Lineage
    spec: dict[str, Any]  # the ResolvedSpec that made it
    size_bytes: int
    weights_sha256: str
    created_at: datetime


class EvaluationOut(Evaluation):
    """An evaluation, and whose."""

    object: Literal["evaluation"] = "evaluation"
    model_id: str
    encoder: EncoderName  # which one was exported
    temperature: float  # that logits are divided by, so that probabilities are calibrated

    def evaluation(self) -> Evaluation:
        return Evaluation.model_validate(self.model_dump(include=set(Evaluation.model_fields)))


def render_evaluation(model: Model) -> EvaluationOut:
    card = ModelCard.model_validate(model.card)
    return EvaluationOut(
        model_id=model.id,
        encoder=card.encoder,
        temperature=card.temperature,
        **card.evaluation.model_dump(),
    )


def render_model(model: Model, *, is_warm: bool) -> ModelOut:
    card = model.card
    parity = read_parity(model)
    return ModelOut(
        id=model.id,
        name=model.name,
        job_id=model.job_id,
        classes=card["classes"],
        backbone=card["backbone"],
        preprocessing=card["preprocessing"],
        is_ready=is_ready(parity),
        is_warm=is_warm,
        parity=parity,
        metrics=card["metrics"],
        lineage=card["lineage"],
        spec=card["spec"],
        size_bytes=model.weights_size_bytes,
        weights_sha256=model.weights_sha256,
        created_at=model.created_at,
    )
