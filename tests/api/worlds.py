"""A project with one row of each kind."""

import json
import secrets
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.dataset_index import THUMBNAILS_DIR
from core.datasets import StoredFile
from core.db.base import Base
from core.db.tables import Checkpoint, Dataset, Job, Key, Model
from core.ids import make_id
from core.inference.model_card import ModelCard
from core.inference.preprocessing import Preprocessing
from core.keys import create_key, ensure_project
from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.sample_table import SAMPLES_FILE, Sample, Thumbnail, write_sample_table
from core.specs import TrainingSpec
from core.storage import Storage
from core.storage_keys import dataset_attempt_prefix
from core.trainer_protocol import Lineage
from core.uploads import start_client_upload
from tests.cards import make_evaluation
from tests.factories import make_dataset, make_job

SHA256 = "a" * 64


class World(NamedTuple):
    project_id: str
    dataset_id: str
    job_id: str
    checkpoint_id: str
    model_id: str
    key_id: str
    upload_id: str
    sample_id: str


def make_world(session: Session, storage: Storage, project: str, folder: Path) -> World:
    project_id = ensure_project(session, project)
    dataset = make_dataset(session, project_id=project_id)
    job = make_job(session, project_id=project_id, dataset=dataset)
    return World(
        project_id=project_id,
        dataset_id=dataset.id,
        job_id=job.id,
        checkpoint_id=make_checkpoint(session, job),
        model_id=make_model(session, job),
        key_id=create_key(session, project_id=project_id, name="a", scopes=("read",)).id,
        upload_id=make_upload(session, project_id),
        sample_id=make_sample(session, storage, dataset, folder),
    )


def make_upload(session: Session, project_id: str) -> str:
    """In parts, of which the store knows nothing."""
    upload_id = make_id("upload")
    start_client_upload(
        session,
        project_id=project_id,
        upload_id=upload_id,
        filename="a.zip",
        size_bytes=1,
        sha256=None,
        multipart_id="lost",
        part_bytes=1,
        lifetime_hours=1,
    )
    return upload_id


def make_sample(session: Session, storage: Storage, dataset: Dataset, folder: Path) -> str:
    """The dataset's only one; its thumbnail is no picture."""
    sample = Sample(
        sample_id=secrets.token_hex(16),
        path="a/1.png",
        label=0,
        split="train",
        width=1,
        height=1,
        size_bytes=1,
        findings=(),
        thumbnail=Thumbnail(0, 0, 1),
    )
    write_sample_table(folder / SAMPLES_FILE, [sample])
    contents = {SAMPLES_FILE: (folder / SAMPLES_FILE).read_bytes(), f"{THUMBNAILS_DIR}/0.tar": b"x"}
    prefix = dataset_attempt_prefix(dataset.id, dataset.attempt or 0)
    files = [
        StoredFile(name=name, **storage.put_bytes(prefix + name, contents[name]).model_dump()) for name in contents
    ]
    dataset.files = [file.model_dump() for file in files]
    dataset.num_samples = 1
    session.flush()
    return sample.sample_id


def make_checkpoint(session: Session, job: Job) -> str:
    checkpoint = Checkpoint(
        id=make_id("ckpt"),
        project_id=job.project_id,
        job_id=job.id,
        attempt=1,
        step=1,
        epoch=1,
        is_best=True,
        manifest_sha256=SHA256,
        size_bytes=1,
        metrics={},
    )
    session.add(checkpoint)
    session.flush()
    return checkpoint.id


def make_model(session: Session, job: Job) -> str:
    model = Model(
        id=make_id("model"),
        project_id=job.project_id,
        job_id=job.id,
        attempt=1,
        weights_sha256=SHA256,
        weights_size_bytes=1,
        card_sha256=SHA256,
        card_size_bytes=1,
        card=make_card(job).model_dump(mode="json"),
    )
    session.add(model)
    session.flush()
    return model.id


def make_card(job: Job) -> ModelCard:
    facts = DatasetFacts(class_counts={"a": 10, "b": 10}, val_samples=4, test_samples=4)
    return ModelCard(
        classes=["a", "b"],
        backbone="tiny",
        backbone_sha256=SHA256,
        num_features=8,
        preprocessing=Preprocessing(
            image_size=64, resize_size=73, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
        ),
        weights_sha256=SHA256,
        encoder="query",
        temperature=1,
        metrics={},
        evaluation=make_evaluation(),
        spec=resolve(TrainingSpec(backbone="tiny"), facts, BackboneFacts(sha256=SHA256, image_size=64)),
        lineage=Lineage(job_id=job.id, dataset_id=job.dataset_id, dataset_sha256=SHA256, attempt=1, code_version="0"),
    )


def dump_tables(session: Session) -> dict[str, list[str]]:
    """Every row of every table as a text; but for when a key was used, which every request may write."""
    return {
        table.name: sorted(
            json.dumps({key: value for key, value in row.items() if key != Key.last_used_at.key}, default=str)
            for row in session.execute(select(table)).mappings()
        )
        for table in Base.metadata.sorted_tables
    }
