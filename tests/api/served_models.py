"""Models that can be asked: tiny weights in the store, and a row whose card says what a test wants."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from sqlalchemy.orm import Session

from core.db.tables import Model
from core.ids import make_id
from core.inference.classifier import Classifier, create_backbone
from core.inference.model_card import WEIGHTS_FILE, ModelCard
from core.keys import ensure_project
from core.storage import Storage
from core.storage_keys import model_prefix
from core.trainer_protocol import Lineage
from tests.core.training.jobs import BACKBONE, describe
from tests.factories import make_dataset, make_job

SHA256 = "c" * 64


def make_state(num_classes: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = create_backbone(BACKBONE)
    return Classifier(network, num_features=describe().num_features, num_classes=num_classes).state_dict()


def store_model(
    session: Session, storage: Storage, folder: Path, card: ModelCard, state: dict[str, torch.Tensor]
) -> str:
    """Of the default project; returns its id."""
    project_id, model_id = ensure_project(session), make_id("model")
    job = make_job(session, project_id=project_id, dataset=make_dataset(session, project_id=project_id))
    lineage = Lineage(job_id=job.id, dataset_id=job.dataset_id, dataset_sha256=SHA256, attempt=1, code_version="0")
    save_file(state, folder / WEIGHTS_FILE)
    weights = storage.put_file(model_prefix(model_id) + WEIGHTS_FILE, folder / WEIGHTS_FILE)
    model = Model(
        id=model_id,
        project_id=project_id,
        job_id=job.id,
        attempt=1,
        weights_sha256=weights.sha256,
        weights_size_bytes=weights.size_bytes,
        card_sha256=SHA256,
        card_size_bytes=1,
        card=card.model_copy(update={"lineage": lineage}).model_dump(mode="json"),
    )
    session.add(model)
    session.flush()
    return model_id
