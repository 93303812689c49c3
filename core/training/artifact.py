"""What training leaves: `weights.safetensors` and `model.json`."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import save_file
from torch import Tensor

from core.inference.model_card import CARD_FILE, WEIGHTS_FILE, Evaluation, ModelCard, Parity
from core.inference.preprocessing import make_preprocessing
from core.specs import EncoderName
from core.trainer_protocol import TrainerJob
from core.training.whole_files import replace_text, whole_directory


class Calibration(NamedTuple):
    """What validation says of how the model's numbers are to be read."""

    temperature: float
    conformal_scores: list[float]
    unknown_threshold: float | None


class Artifact(NamedTuple):
    weights: dict[str, Tensor]  # of an ExportedNetwork
    encoder: EncoderName
    calibration: Calibration
    metrics: dict[str, float]
    evaluation: Evaluation


def write_artifact(directory: Path, job: TrainerJob, artifact: Artifact) -> None:
    """The weights are stored on the CPU whatever they were trained on. The card says nothing of parity yet."""
    with whole_directory(directory) as part:
        save_file({key: value.cpu().contiguous() for key, value in artifact.weights.items()}, part / WEIGHTS_FILE)
        with (part / WEIGHTS_FILE).open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        card = _make_card(job, artifact, weights_sha256=sha256)
        (part / CARD_FILE).write_text(card.model_dump_json(indent=2))


def read_card(directory: Path) -> ModelCard:
    return ModelCard.model_validate_json((directory / CARD_FILE).read_text())


def add_parity(directory: Path, parity: Parity) -> None:
    card = read_card(directory).model_copy(update={"parity": parity})
    replace_text(directory / CARD_FILE, card.model_dump_json(indent=2))


def _make_card(job: TrainerJob, artifact: Artifact, *, weights_sha256: str) -> ModelCard:
    return ModelCard(
        classes=job.classes,
        backbone=job.backbone.name,
        backbone_sha256=job.spec.backbone_sha256,
        num_features=job.backbone.num_features,
        preprocessing=make_preprocessing(job.backbone, job.spec.training.image_size),
        weights_sha256=weights_sha256,
        encoder=artifact.encoder,
        temperature=artifact.calibration.temperature,
        conformal_scores=artifact.calibration.conformal_scores,
        unknown_threshold=artifact.calibration.unknown_threshold,
        metrics=artifact.metrics,
        evaluation=artifact.evaluation,
        spec=job.spec,
        lineage=job.lineage,
    )
