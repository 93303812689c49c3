"""Published models as jobs leave them: files in the store, rows in the database; and a key that may ask them."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from sqlalchemy.orm import Session

from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from core.backbones import register_backbone
from core.datasets import create_dataset_from_url
from core.db.session import make_engine, make_session_factory
from core.ids import make_id
from core.inference.backbone_catalog import describe_backbone
from core.inference.backbone_weights import convert_weights, load_backbone
from core.inference.classifier import Classifier
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE, Evaluation, ModelCard
from core.inference.preprocessing import make_preprocessing
from core.jobs import create_job
from core.keys import create_key, ensure_project
from core.models import NewModel, publish_model
from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.runs import claims
from core.runs.types import Claim
from core.settings import Settings
from core.specs import BackboneDescription, OptimizationSpec, TrainingSpec
from core.storage import Storage, StoredObject
from core.storage_keys import model_prefix

IMAGE_SIZE = 224
CLASSES = ["intact", "defective"]
SPEC = TrainingSpec(backbone=BUNDLED_NAME, training=OptimizationSpec(image_size=IMAGE_SIZE))
NO_SCORES = Evaluation(
    split="test",
    num_samples=1,
    accuracy=1,
    accuracy_interval=(0, 1),
    loss=0,
    calibration_error=0,
    calibration_error_before=0,
    classes=[],
    confusion_matrix=None,
    most_confused=[],
    worst_mistakes=[],
    comparisons=[],
)


class ModelFiles(NamedTuple):
    weights: Path
    card: Path

    @property
    def size_bytes(self) -> int:
        return self.weights.stat().st_size

    def read_card(self) -> ModelCard:
        return ModelCard.model_validate_json(self.card.read_text())


def make_model_files(folder: Path) -> ModelFiles:
    """The bundled backbone and a head of random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    backbone_path = folder / "backbone.safetensors"
    convert_weights(find_bundled_weights(), BUNDLED_NAME, backbone_path)
    backbone = describe_backbone(BUNDLED_NAME)
    torch.manual_seed(0)
    classifier = Classifier(
        load_backbone(BUNDLED_NAME, backbone_path), num_features=backbone.num_features, num_classes=len(CLASSES)
    )
    files = ModelFiles(folder / WEIGHTS_FILE, folder / CARD_FILE)
    save_file(classifier.state_dict(), files.weights)
    files.card.write_text(_make_card(backbone, _hash(backbone_path), _hash(files.weights)).model_dump_json())
    return files


def make_predict_key(settings: Settings) -> str:
    """The secret."""
    engine = make_engine(settings.database_url.get_secret_value())
    with make_session_factory(engine).begin() as session:
        key = create_key(session, project_id=ensure_project(session), name="benchmark", scopes=("predict",))
    engine.dispose()
    return key.secret


def publish_models(settings: Settings, files: ModelFiles, count: int = 1) -> list[str]:
    """Their ids: models that no process has loaded yet, with equal weights."""
    storage = Storage.from_settings(settings)
    storage.ensure_bucket()
    new_models = [_store(storage, files) for _ in range(count)]
    engine = make_engine(settings.database_url.get_secret_value())
    with make_session_factory(engine).begin() as session:
        _publish(session, new_models)
    engine.dispose()
    return [new.id for new in new_models]


def _make_card(backbone: BackboneDescription, backbone_sha256: str, weights_sha256: str) -> ModelCard:
    samples = DatasetFacts(class_counts=dict.fromkeys(CLASSES, 100))
    return ModelCard(
        classes=CLASSES,
        backbone=backbone.name,
        backbone_sha256=backbone_sha256,
        num_features=backbone.num_features,
        preprocessing=make_preprocessing(backbone, IMAGE_SIZE),
        weights_sha256=weights_sha256,
        encoder="query",
        temperature=1.0,
        metrics={},
        evaluation=NO_SCORES,
        spec=resolve(SPEC, samples, BackboneFacts(sha256=backbone_sha256, image_size=backbone.image_size)),
        lineage=None,
    )


def _store(storage: Storage, files: ModelFiles) -> NewModel:
    model_id = make_id("model")
    prefix = model_prefix(model_id)
    return NewModel(
        id=model_id,
        weights=storage.put_file(prefix + WEIGHTS_FILE, files.weights),
        card_file=storage.put_file(prefix + CARD_FILE, files.card),
        card=files.read_card().model_dump(mode="json"),
    )


def _publish(session: Session, new_models: list[NewModel]) -> None:
    """A job each, claimed and ended."""
    project_id = ensure_project(session)
    weights = StoredObject(size_bytes=1, sha256="a" * 64)  # no job trains, so nobody asks the store for them
    register_backbone(session, description=describe_backbone(BUNDLED_NAME), stored=weights)
    source = create_dataset_from_url(
        session, project_id=project_id, name="cells", url="https://a.test/b.zip", test_fraction=0.2, metadata={}
    )
    claims.succeed(session, _claim(session, "imports"))
    for new in new_models:
        state = create_job(
            session,
            project_id=project_id,
            spec=SPEC,
            dataset_id=source.dataset.id,
            dataset_url=None,
            name="cells",
            metadata={},
        )
        publish_model(session, _claim(session, "train"), state.job, new)


def _claim(session: Session, queue: str) -> Claim:
    held = claims.claim(session, queue=queue, worker_id="benchmark", lease_seconds=3600.0)
    assert held is not None
    return held


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
