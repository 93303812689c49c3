"""Makes valid rows; a test states only what matters to it."""

from sqlalchemy.orm import Session

from core.datasets import create_dataset_from_url
from core.db.tables import Backbone, Dataset, Job, Project, Run, Worker
from core.ids import make_id
from core.jobs import create_job
from core.runs import claims, lifecycle
from core.runs.types import Claim, RunKind
from core.specs import TrainingSpec

LEASE_SECONDS = 30.0


def make_project(session: Session) -> str:
    project = Project(id=make_id("proj"), name=make_id("name"))
    session.add(project)
    session.flush()
    return project.id


def make_run(
    session: Session,
    *,
    kind: RunKind = RunKind.TRAIN,
    project_id: str | None = None,
    waits_for: Run | None = None,
    gpus: int | None = 0,
) -> Run:
    return lifecycle.submit(
        session,
        project_id=project_id or make_project(session),
        kind=kind,
        waits_for_run_id=None if waits_for is None else waits_for.id,
        gpus=gpus,
    )


def claim_run(session: Session, *, queue: str = "train", lease_seconds: float = LEASE_SECONDS) -> Claim:
    held = claims.claim(session, queue=queue, worker_id="worker_a", lease_seconds=lease_seconds)
    assert held is not None
    return held


def make_worker(session: Session, *, gpus: int = 0, queue: str = "train") -> Worker:
    worker = Worker(id=make_id("worker"), hostname="host", pid=1, queue=queue, slots=1, gpus=gpus, code_version="0")
    session.add(worker)
    session.flush()
    return worker


def make_backbone(session: Session, name: str = "tiny") -> Backbone:
    description = {
        "name": "tf_efficientnet_lite0",
        "image_size": 64,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "crop_pct": 0.875,
        "num_features": 1280,
        "num_parameters": 3_000_000,
    }
    backbone = Backbone(name=name, sha256="a" * 64, size_bytes=1, description=description)
    session.merge(backbone)
    session.flush()
    return backbone


def make_dataset(session: Session, *, project_id: str, ready: bool = True) -> Dataset:
    state = create_dataset_from_url(
        session, project_id=project_id, name="cells", url="https://a.test/b.zip", test_fraction=0.2, metadata={}
    )
    if ready:
        held = claim_run(session, queue="imports")
        state.dataset.attempt = held.attempt
        claims.succeed(session, held)
    return state.dataset


def make_job(session: Session, *, project_id: str, dataset: Dataset) -> Job:
    return create_job(
        session,
        project_id=project_id,
        spec=TrainingSpec(backbone=make_backbone(session).name),
        dataset_id=dataset.id,
        dataset_url=None,
        name=None,
        metadata={},
    ).job
