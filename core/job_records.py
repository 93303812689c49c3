"""What a worker reads and records of the job of its run."""

from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import deletions
from core.db.tables import Attempt, Checkpoint, Dataset, Job
from core.ids import make_id
from core.jobs import list_checkpoints
from core.runs import claims
from core.runs.types import Claim
from core.specs import ResolvedSpec
from core.speeds import Estimate, settle
from core.storage_keys import checkpoint_prefix

KEPT_CHECKPOINTS = 2  # the last ones; the best is kept beside them


class NewCheckpoint(NamedTuple):
    """A checkpoint whose parts and manifest are in the store already."""

    step: int
    epoch: int
    is_best: bool
    manifest_sha256: str
    size_bytes: int
    metrics: dict[str, float]


def get_job_of_run(session: Session, run_id: str) -> tuple[Job, Dataset]:
    row = session.execute(select(Job, Dataset).join(Dataset, Dataset.id == Job.dataset_id).where(Job.run_id == run_id))
    found = row.one()
    return found[0], found[1]


def find_job_id(session: Session, run_id: str) -> str | None:
    return session.scalar(select(Job.id).where(Job.run_id == run_id))


def read_resolved_spec(job: Job) -> ResolvedSpec | None:
    if job.resolved_spec is None:
        return None
    return ResolvedSpec.model_validate({key: value for key, value in job.resolved_spec.items() if key != "dataset_id"})


def record_resolved_spec(
    session: Session, held: Claim, job: Job, resolved: ResolvedSpec, estimate: Estimate | None
) -> None:
    """Written once, at the first attempt; every later one uses it."""
    claims.guard(session, held)
    row = session.get_one(Job, job.id)
    row.resolved_spec = resolved.model_dump(mode="json") | {"dataset_id": job.dataset_id}
    row.estimate = None if estimate is None else estimate.model_dump()


def record_duration(session: Session, held: Claim, job_id: str, seconds: float) -> None:
    """How far off the estimate was."""
    claims.guard(session, held)
    job = session.get_one(Job, job_id)
    if job.estimate is not None:
        job.estimate = settle(Estimate.model_validate(job.estimate), seconds).model_dump()


def record_resume(session: Session, held: Claim, step: int) -> None:
    claims.guard(session, held)
    session.get_one(Attempt, (held.run_id, held.attempt)).resumed_from_step = step


def record_metrics(session: Session, held: Claim, job_id: str, values: dict[str, float]) -> None:
    """Keeps the last value of each; the series itself is in the store."""
    claims.guard(session, held)
    job = session.get_one(Job, job_id)
    job.metrics = job.metrics | values


def record_segments(session: Session, held: Claim, *, metric_segments: int, log_segments: int) -> None:
    claims.guard(session, held)
    attempt = session.get_one(Attempt, (held.run_id, held.attempt))
    attempt.metric_segments = metric_segments
    attempt.log_segments = log_segments


def record_checkpoint(session: Session, held: Claim, job_id: str, new: NewCheckpoint) -> None:
    """From here on the checkpoint exists; the ones that it replaces are deleted. Done twice is done once."""
    claims.guard(session, held)
    if _has_checkpoint(session, held, job_id, new.step):
        return
    checkpoint = Checkpoint(
        id=make_id("ckpt"), project_id=held.project_id, job_id=job_id, attempt=held.attempt, **new._asdict()
    )
    session.add(checkpoint)
    session.flush()
    claims.note(
        session, held, "checkpoint_saved", f"checkpoint at step {new.step}", details={"checkpoint_id": checkpoint.id}
    )
    claims.forgive_losses(session, held)
    _drop_old_checkpoints(session, job_id)


def _has_checkpoint(session: Session, held: Claim, job_id: str, step: int) -> bool:
    """Whether it was recorded by a commit whose answer got lost."""
    same = (Checkpoint.job_id == job_id, Checkpoint.attempt == held.attempt, Checkpoint.step == step)
    return session.scalar(select(Checkpoint.id).where(*same)) is not None


def _drop_old_checkpoints(session: Session, job_id: str) -> None:
    checkpoints = list_checkpoints(session, job_id)
    best = next((checkpoint for checkpoint in checkpoints if checkpoint.is_best), None)
    for checkpoint in checkpoints[KEPT_CHECKPOINTS:]:
        if checkpoint is not best:
            deletions.schedule(session, checkpoint_prefix(job_id, checkpoint.attempt, checkpoint.step))
            session.delete(checkpoint)
