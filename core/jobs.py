"""Use cases of jobs: post, look, cancel, delete; and what a worker records about one."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from core import deletions
from core.backbones import get_backbone
from core.datasets import DatasetState, Metadata, create_dataset_from_url, get_trainable_dataset, require_one_source
from core.db.tables import Attempt, Checkpoint, Dataset, Job, Run
from core.errors import ConflictError, InvalidInputError, NotFoundError
from core.ids import make_id
from core.job_states import JobState, find_state, list_states
from core.masking import name_file
from core.metric_series import AttemptSegments
from core.paging import Page, PageRequest, fetch_page
from core.quotas import UNLIMITED, Quotas, charge_job
from core.runs import claims, lifecycle
from core.runs.types import QUEUES, Claim, RunKind
from core.specs import ResolvedSpec, TrainingSpec
from core.speeds import Estimate, settle
from core.storage_keys import checkpoint_prefix, job_prefix
from core.workers import find_most_gpus

KEPT_CHECKPOINTS = 2  # the last ones; the best is kept beside them


class JobFilter(NamedTuple):
    """Which jobs of a project are listed; None is any."""

    status: lifecycle.ShownStatus | None = None
    name: str | None = None
    metadata: Metadata | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        if self.status is not None:
            yield Job.run_id.in_(select(Run.id).where(lifecycle.has_shown_status(self.status)))
        if self.name is not None:
            yield Job.name == self.name
        if self.metadata:
            yield Job.details.contains(self.metadata)


NO_FILTER = JobFilter()


class NewCheckpoint(NamedTuple):
    """A checkpoint whose parts and manifest are in the store already."""

    step: int
    epoch: int
    is_best: bool
    manifest_sha256: str
    size_bytes: int
    metrics: dict[str, float]


def create_job(
    session: Session,
    *,
    project_id: str,
    spec: TrainingSpec,
    dataset_id: str | None,
    dataset_url: str | None,
    name: str | None,
    metadata: Metadata,
    configured_gpus: int | None = None,
    quotas: Quotas = UNLIMITED,
) -> JobState:
    """With a URL the dataset is created too, and the job waits for its import."""
    charge_job(session, project_id, quotas)
    _require_enough_gpus(session, spec, configured_gpus)
    get_backbone(session, spec.backbone, spec.backbone_sha256)
    source = _find_or_create_dataset(session, project_id, dataset_id, dataset_url, quotas)
    run = lifecycle.submit(
        session,
        project_id=project_id,
        kind=RunKind.TRAIN,
        waits_for_run_id=source.run.id,
        gpus=spec.asked_gpus,
        max_runtime_seconds=spec.max_runtime_seconds,
        max_queue_seconds=spec.max_queue_seconds,
    )
    job = Job(
        id=make_id("job"),
        project_id=project_id,
        run_id=run.id,
        dataset_id=source.dataset.id,
        name=name,
        details=metadata,
        spec=spec.model_dump(mode="json"),
    )
    session.add(job)
    session.flush()
    return get_job(session, project_id, job.id, quotas)


def get_job(session: Session, project_id: str, job_id: str, quotas: Quotas = UNLIMITED) -> JobState:
    """By the quotas it says what a queued job waits for."""
    state = find_state(session, project_id, job_id, max_running=quotas.running_jobs)
    if state is None:
        raise NotFoundError(
            "job_not_found",
            f"there is no job '{job_id}'",
            hint="`GET /jobs` lists those of the key's project",
            param="job_id",
        )
    return state


def list_jobs(
    session: Session,
    project_id: str,
    page: PageRequest,
    wanted: JobFilter = NO_FILTER,
    quotas: Quotas = UNLIMITED,
) -> Page[JobState]:
    query = select(Job).where(Job.project_id == project_id, Job.deleted_at.is_(None), *wanted.conditions())
    found = fetch_page(session, query, Job.id, page)
    states = list_states(session, project_id, [row.id for row in found.rows], max_running=quotas.running_jobs)
    return Page(rows=states, has_more=found.has_more)


def cancel_job(session: Session, project_id: str, job_id: str) -> JobState:
    state = get_job(session, project_id, job_id)
    lifecycle.request_cancel(session, state.run.id)
    return get_job(session, project_id, job_id)


def pause_job(session: Session, project_id: str, job_id: str) -> JobState:
    state = get_job(session, project_id, job_id)
    lifecycle.request_pause(session, state.run.id)
    return get_job(session, project_id, job_id)


def resume_job(session: Session, project_id: str, job_id: str, quotas: Quotas = UNLIMITED) -> JobState:
    """Back in the queue it counts like a new one."""
    charge_job(session, project_id, quotas)
    state = get_job(session, project_id, job_id)
    lifecycle.resume(session, state.run.id)
    return get_job(session, project_id, job_id, quotas)


def delete_job(session: Session, project_id: str, job_id: str) -> None:
    """Checkpoints, metrics and log go; the model stays until it is deleted itself."""
    state = get_job(session, project_id, job_id)
    if not lifecycle.is_terminal(state.run):
        raise ConflictError("job_unfinished", f"it is {state.run.status}", hint="cancel it first")
    state.job.deleted_at = session.scalar(select(func.clock_timestamp()))
    deletions.schedule(session, job_prefix(job_id))


def list_checkpoints(session: Session, job_id: str) -> list[Checkpoint]:
    """The newest first."""
    query = select(Checkpoint).where(Checkpoint.job_id == job_id)
    return list(session.scalars(query.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc())))


def get_checkpoint(session: Session, project_id: str, job_id: str, checkpoint_id: str) -> Checkpoint:
    state = get_job(session, project_id, job_id)
    checkpoint = session.get(Checkpoint, checkpoint_id)
    if checkpoint is None or checkpoint.job_id != state.job.id:
        raise NotFoundError(
            "checkpoint_not_found",
            f"there is no checkpoint '{checkpoint_id}'",
            hint="`GET /jobs/{id}/checkpoints` lists them",
        )
    return checkpoint


# What a worker records


def get_job_of_run(session: Session, run_id: str) -> tuple[Job, Dataset]:
    row = session.execute(select(Job, Dataset).join(Dataset, Dataset.id == Job.dataset_id).where(Job.run_id == run_id))
    found = row.one()
    return found[0], found[1]


def find_job_id(session: Session, run_id: str) -> str | None:
    return session.scalar(select(Job.id).where(Job.run_id == run_id))


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


def _require_enough_gpus(session: Session, spec: TrainingSpec, configured: int | None) -> None:
    """While no worker has been seen, and none is announced, any job may wait for one."""
    seen = find_most_gpus(session, queue=QUEUES[RunKind.TRAIN])
    known = [gpus for gpus in (seen, configured) if gpus is not None]
    if known and (spec.asked_gpus or 0) > max(known):
        raise InvalidInputError(
            "too_few_gpus",
            f"the job asks for {spec.gpus} GPUs, and no worker has more than {max(known)}",
            hint='take fewer, or "auto"; an operator who will start larger workers sets BITUNE_CONFIGURED_GPUS',
            param="gpus",
        )


def _find_or_create_dataset(
    session: Session, project_id: str, dataset_id: str | None, dataset_url: str | None, quotas: Quotas
) -> DatasetState:
    require_one_source(dataset_id, dataset_url)
    if dataset_url is not None:
        name = name_file(dataset_url, default="dataset")[:200]
        return create_dataset_from_url(
            session,
            project_id=project_id,
            name=name,
            url=dataset_url,
            test_fraction=0.2,
            metadata={},
            quotas=quotas,
        )
    return get_trainable_dataset(session, project_id, dataset_id or "")


def list_segments(state: JobState) -> list[AttemptSegments]:
    return [
        AttemptSegments(
            number=attempt.number,
            resumed_from_step=attempt.resumed_from_step,
            metric_segments=attempt.metric_segments,
            log_segments=attempt.log_segments,
        )
        for attempt in state.attempts
    ]


def read_resolved_spec(job: Job) -> ResolvedSpec | None:
    if job.resolved_spec is None:
        return None
    return ResolvedSpec.model_validate({key: value for key, value in job.resolved_spec.items() if key != "dataset_id"})
