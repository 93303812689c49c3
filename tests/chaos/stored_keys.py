"""Which objects the rows ask for, spelled out here once more: the collector is not asked about its own work."""

import json
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Backbone, Checkpoint, Dataset, Job, Model, Run, Upload
from core.states import TERMINAL
from core.storage import Storage
from core.storage_errors import ObjectMissingError


def imply_keys(session: Session, storage: Storage) -> set[str]:
    """A checkpoint's manifest in the store says which parts it has."""
    return {
        "installation",
        *_imply_data(session),
        *_imply_checkpoints(session, storage),
        *_imply_segments(session),
        *_imply_models(session),
    }


def _imply_data(session: Session) -> Iterator[str]:
    for dataset in session.scalars(select(Dataset).where(Dataset.deleted_at.is_(None))):
        for file in dataset.files or []:
            yield f"datasets/{dataset.id}/{dataset.attempt}/{file['name']}"
    uploads = select(Upload).join(Dataset, Dataset.upload_id == Upload.id).join(Run, Run.id == Dataset.run_id)
    for upload in session.scalars(uploads.where(Run.status.not_in(TERMINAL), Upload.completed_at.is_not(None))):
        yield upload.storage_key
    for backbone in session.scalars(select(Backbone)):
        yield f"backbones/{backbone.name}/{backbone.sha256}.safetensors"


def _imply_checkpoints(session: Session, storage: Storage) -> Iterator[str]:
    for row in session.scalars(select(Checkpoint)):
        prefix = f"jobs/{row.job_id}/{row.attempt}/checkpoints/{row.step}/"
        yield f"{prefix}manifest.json"
        try:
            manifest = json.loads(storage.get_bytes(f"{prefix}manifest.json"))
        except ObjectMissingError:
            continue
        yield from (f"{prefix}{part['name']}" for part in manifest["parts"])


def _imply_segments(session: Session) -> Iterator[str]:
    query = select(Job.id, Attempt).join(Attempt, Attempt.run_id == Job.run_id).where(Job.deleted_at.is_(None))
    for job_id, attempt in session.execute(query):
        prefix = f"jobs/{job_id}/{attempt.number}"
        yield from (f"{prefix}/metrics/{number}.jsonl" for number in range(1, attempt.metric_segments + 1))
        yield from (f"{prefix}/log/{number}.txt" for number in range(1, attempt.log_segments + 1))


def _imply_models(session: Session) -> Iterator[str]:
    for model in session.scalars(select(Model).where(Model.deleted_at.is_(None))):
        yield from (f"models/{model.id}/{name}" for name in ("weights.safetensors", "model.json"))
