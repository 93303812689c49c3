"""Use cases of jobs: post, look, cancel, pause, delete."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from core import deletions
from core.backbones import get_backbone
from core.datasets import DatasetState, Metadata, create_dataset_from_url, get_trainable_dataset, require_one_source
from core.db.tables import Checkpoint, Job, Run
from core.errors import ConflictError, InvalidInputError, NotFoundError
from core.ids import make_id
from core.job_states import JobState, find_state, list_states
from core.masking import name_file
from core.metric_series import AttemptSegments
from core.paging import Page, PageRequest, fetch_page
from core.quotas import UNLIMITED, Quotas, charge_job
from core.runs import lifecycle
from core.runs.types import QUEUES, RunKind
from core.specs import TrainingSpec
from core.storage_keys import job_prefix
from core.workers import find_most_gpus


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
