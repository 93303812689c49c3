"""What training leaves: `weights.safetensors` and `model.json`."""

import hashlib
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from core.inference.model_card import CARD_FILE, WEIGHTS_FILE, Evaluation, ModelCard
from core.trainer_protocol import TrainerJob
from core.training.data import make_preprocessing


def write_artifact(
    directory: Path, job: TrainerJob, weights: dict[str, Tensor], *, metrics: dict[str, float], evaluation: Evaluation
) -> None:
    """`weights` are a Classifier's; they are stored on the CPU whatever they were trained on."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / WEIGHTS_FILE
    save_file({key: value.detach().cpu().contiguous() for key, value in weights.items()}, path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    card = ModelCard(
        classes=job.classes,
        backbone=job.backbone.name,
        num_features=job.backbone.num_features,
        preprocessing=make_preprocessing(job),
        weights_sha256=sha256,
        metrics=metrics,
        evaluation=evaluation,
        spec=job.spec,
        lineage=job.lineage,
    )
    (directory / CARD_FILE).write_text(card.model_dump_json(indent=2))
