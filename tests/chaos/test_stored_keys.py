"""What the rows ask for, on the real database and store."""

from sqlalchemy import select

from core import job_records
from core.db.session import SessionFactory
from core.db.tables import Dataset
from core.job_records import NewCheckpoint
from core.runs.types import Claim
from core.storage import Storage
from tests.chaos.stored_keys import imply_keys
from tests.factories import claim_run, make_dataset, make_job, make_project


def make_held_job(sessions: SessionFactory) -> tuple[str, Claim]:
    with sessions.begin() as session:
        project_id = make_project(session)
        job = make_job(session, project_id=project_id, dataset=make_dataset(session, project_id=project_id))
        return job.id, claim_run(session)


def test_counted_segments_are_asked_for(sessions: SessionFactory, storage: Storage) -> None:
    job_id, held = make_held_job(sessions)
    with sessions.begin() as session:
        job_records.record_segments(session, held, metric_segments=1, log_segments=2)

        implied = imply_keys(session, storage)

    segments = {f"jobs/{job_id}/1/{name}" for name in ("metrics/1.jsonl", "log/1.txt", "log/2.txt")}
    assert {key for key in implied if key.startswith("jobs/")} == segments


def test_parts_of_a_checkpoint_are_asked_for(sessions: SessionFactory, storage: Storage) -> None:
    job_id, held = make_held_job(sessions)
    prefix = f"jobs/{job_id}/1/checkpoints/20/"
    storage.put_bytes(f"{prefix}manifest.json", b'{"parts": [{"name": "state.json"}]}')
    new = NewCheckpoint(step=20, epoch=1, is_best=False, manifest_sha256="a" * 64, size_bytes=1, metrics={})
    with sessions.begin() as session:
        job_records.record_checkpoint(session, held, job_id, new)

        implied = imply_keys(session, storage)

    assert {f"{prefix}manifest.json", f"{prefix}state.json"} <= implied


def test_files_of_a_dataset_are_asked_for(sessions: SessionFactory, storage: Storage) -> None:
    make_held_job(sessions)
    with sessions.begin() as session:
        dataset = session.scalars(select(Dataset)).one()
        dataset.files = [{"name": "index.parquet"}]
        session.flush()

        assert f"datasets/{dataset.id}/{dataset.attempt}/index.parquet" in imply_keys(session, storage)
