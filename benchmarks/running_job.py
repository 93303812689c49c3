"""Jobs in the midst of their training, with all that a poll shows."""

from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from core import job_records, jobs
from core.datasets import create_dataset_from_url
from core.db.session import make_engine, make_session_factory
from core.db.tables import Backbone, Run
from core.keys import create_key, ensure_project
from core.runs import claims
from core.runs.types import Claim
from core.settings import Settings
from core.specs import TrainingSpec
from core.trainer_protocol import Progress

LEASE_SECONDS = 3600.0
METRICS = {"train_loss": 0.52, "val_loss": 0.61, "val_accuracy": 0.83, "learning_rate": 0.001}
PROGRESS = Progress(
    stage="training", step=40, total_steps=120, epoch=4, total_epochs=10, images_per_second=61.5, eta_seconds=62.0
)


class RunningJob(NamedTuple):
    id: str
    held: Claim


class RunningJobs(NamedTuple):
    secret: str  # of a key that may read them
    jobs: list[RunningJob]


def make_running_jobs(settings: Settings, count: int = 1) -> RunningJobs:
    engine = make_engine(settings.database_url.get_secret_value())
    with make_session_factory(engine).begin() as session:
        project_id = ensure_project(session)
        dataset_id = _make_dataset(session, project_id)
        running = [_make_running_job(session, project_id, dataset_id) for _ in range(count)]
        key = create_key(session, project_id=project_id, name="poller", scopes=("read",))
    engine.dispose()
    return RunningJobs(key.secret, running)


def _make_dataset(session: Session, project_id: str) -> str:
    session.add(Backbone(name="tiny", sha256="a" * 64, size_bytes=1, description={"num_features": 1280}))
    source = create_dataset_from_url(
        session, project_id=project_id, name="cells", url="https://a.test/b.zip", test_fraction=0.2, metadata={}
    )
    claims.succeed(session, _claim(session, "imports"))
    return source.dataset.id


def _make_running_job(session: Session, project_id: str, dataset_id: str) -> RunningJob:
    """It was handed back once, so that it has two attempts, and left a checkpoint."""
    job_id = _post_job(session, project_id, dataset_id)
    claims.hand_back(session, _claim(session, "train"), "deploy")
    session.execute(update(Run).where(Run.queue == "train").values(run_after=Run.created_at))
    held = _claim(session, "train")
    job_records.record_metrics(session, held, job_id, METRICS)
    checkpoint = job_records.NewCheckpoint(
        step=40, epoch=4, is_best=True, manifest_sha256="a" * 64, size_bytes=1, metrics=METRICS
    )
    job_records.record_checkpoint(session, held, job_id, checkpoint)
    claims.beat(session, held, lease_seconds=LEASE_SECONDS, progress=PROGRESS)
    return RunningJob(job_id, held)


def _post_job(session: Session, project_id: str, dataset_id: str) -> str:
    state = jobs.create_job(
        session,
        project_id=project_id,
        spec=TrainingSpec(backbone="tiny"),
        dataset_id=dataset_id,
        dataset_url=None,
        name="cells-v1",
        metadata={"team": "pv"},
    )
    return state.job.id


def _claim(session: Session, queue: str) -> Claim:
    held = claims.claim(session, queue=queue, worker_id="worker", lease_seconds=LEASE_SECONDS)
    assert held is not None
    return held
