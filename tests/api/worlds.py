"""A project with one row of each kind."""

import json
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.datasets import start_upload
from core.db.base import Base
from core.db.tables import Checkpoint, Key, Model
from core.ids import make_id
from core.keys import create_key, ensure_project
from tests.factories import make_dataset, make_job


class World(NamedTuple):
    project_id: str
    dataset_id: str
    job_id: str
    checkpoint_id: str
    model_id: str
    key_id: str
    upload_id: str

    def ids(self) -> set[str]:
        return set(self)


def make_world(session: Session, project: str) -> World:
    project_id = ensure_project(session, project)
    dataset = make_dataset(session, project_id=project_id)
    job = make_job(session, project_id=project_id, dataset=dataset)
    of_job = {"project_id": project_id, "job_id": job.id, "attempt": 1}
    checkpoint = Checkpoint(
        id=make_id("ckpt"),
        **of_job,
        step=1,
        epoch=1,
        is_best=True,
        manifest_sha256="a" * 64,
        size_bytes=1,
        metrics={},
    )
    model = Model(
        id=make_id("model"),
        **of_job,
        weights_sha256="a" * 64,
        weights_size_bytes=1,
        card_sha256="a" * 64,
        card_size_bytes=1,
        card={},
    )
    session.add_all([checkpoint, model])
    session.flush()
    return World(
        project_id=project_id,
        dataset_id=dataset.id,
        job_id=job.id,
        checkpoint_id=checkpoint.id,
        model_id=model.id,
        key_id=create_key(session, project_id=project_id, name="a", scopes=("read",)).id,
        upload_id=start_upload(session, project_id=project_id, filename="a.zip").id,
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
