"""The end of a real training whose servers come and go."""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Model, Run
from core.resolution import DatasetFacts
from core.settings import Settings
from core.speeds import JobSize
from core.states import RunStatus
from core.storage import Storage
from tests.core.training import jobs as trainer_jobs
from tests.factories import claim_run, make_dataset, make_job, make_project
from tests.worker.contexts import make_context
from tests.worker.outages import RefusedCommit
from worker.ending import Ending
from worker.heartbeat import Heartbeat
from worker.preparation import PreparedJob
from worker.trainer import Training

FACTS = DatasetFacts(class_counts={"red": 7, "green": 7}, val_samples=6, test_samples=4)


def test_model_is_stored_once_however_often_its_row_is_tried(
    session: Session, settings: Settings, sessions: SessionFactory, storage: Storage, tmp_path: Path
) -> None:
    project_id = make_project(session)
    job = make_job(session, project_id=project_id, dataset=make_dataset(session, project_id=project_id))
    held = claim_run(session)
    session.commit()
    context = make_context(settings, sessions, tmp_path / "work")
    spec = trainer_jobs.make_spec(trainer_jobs.VANILLA, epochs=1)
    prepared = PreparedJob(job, trainer_jobs.make_job(tmp_path, spec), JobSize(spec, FACTS))
    before = set(storage.list_keys("models/"))
    refused = RefusedCommit(sessions, "succeeded")

    with Heartbeat(context, held) as beat:
        Training(context, held, beat, Ending(context, beat), tmp_path, prepared).run(devices=[])

    model_id = session.scalars(select(Model.id).where(Model.job_id == job.id)).one()
    stored = set(storage.list_keys("models/")) - before
    assert refused.happened
    assert session.get_one(Run, job.run_id, populate_existing=True).status == RunStatus.SUCCEEDED
    assert stored == {f"models/{model_id}/{name}" for name in ("weights.safetensors", "model.json")}
