"""Jobs on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from api.schemas.common import ApiModel, MetadataField, Name
from api.schemas.datasets import ErrorOut
from core.db.tables import Checkpoint, RunEvent
from core.job_states import AttemptState, JobState
from core.runs import lifecycle
from core.specs import TrainingSpec
from core.speeds import Estimate

_BODY_FIELDS = {"dataset_id", "dataset_url", "name", "metadata"}


class JobCreate(TrainingSpec):
    """Everything but the dataset has a default; a number may be "auto"."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dataset_url": "https://example.com/cells.zip",
                    "backbone": "tf_efficientnet_lite0",
                    "method": {"type": "bi_tuning", "queue_size": "auto", "ccl_weight": 1.0},
                    "training": {"epochs": "auto", "image_size": 224},
                    "validation_fraction": 0.2,
                    "seed": 0,
                    "name": "cells-v1",
                    "metadata": {"team": "pv"},
                }
            ]
        }
    )

    dataset_id: str | None = Field(None, description="A dataset that was posted; this or `dataset_url`")
    dataset_url: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = Field(
        None, description="An archive that is fetched and imported first"
    )
    name: Name | None = Field(None, description="For people; need not be unique")
    metadata: MetadataField = {}

    def spec(self) -> TrainingSpec:
        return TrainingSpec.model_validate(self.model_dump(exclude=_BODY_FIELDS))


class QueueOut(ApiModel):
    position: int
    reason: str


class ProgressOut(ApiModel):
    stage: str
    step: int
    total_steps: int
    epoch: int
    total_epochs: int
    percent: float
    images_per_second: float | None
    eta_seconds: float | None


class AttemptOut(ApiModel):
    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    resumed_from_step: int | None


class JobOut(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "job_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "object": "job",
                    "status": "running",
                    "terminal": False,
                    "status_reason": None,
                    "queue": None,
                    "progress": {
                        "stage": "training",
                        "step": 40,
                        "total_steps": 120,
                        "epoch": 4,
                        "total_epochs": 10,
                        "percent": 33.3,
                        "images_per_second": 61.5,
                        "eta_seconds": 62.0,
                    },
                    "attempts": [],
                    "metrics": {"train_loss": 0.52, "val_accuracy": 0.83},
                    "estimate": None,
                    "best_checkpoint_id": None,
                    "model_id": None,
                    "dataset_id": "ds_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "spec": {"backbone": "tf_efficientnet_lite0"},
                    "resolved_spec": None,
                    "seed": 0,
                    "name": "cells-v1",
                    "metadata": {},
                    "created_at": "2026-11-23T12:00:00Z",
                    "started_at": None,
                    "finished_at": None,
                }
            ]
        }
    )

    id: str
    object: Literal["job"] = "job"
    status: str
    terminal: bool
    status_reason: ErrorOut | None
    queue: QueueOut | None
    progress: ProgressOut | None
    attempts: list[AttemptOut]
    metrics: dict[str, float]
    estimate: Estimate | None  # from when the spec was resolved; with its error once the job is done
    best_checkpoint_id: str | None
    model_id: str | None
    dataset_id: str
    spec: dict[str, Any]  # a TrainingSpec as it was asked
    resolved_spec: dict[str, Any] | None  # a ResolvedSpec
    seed: int
    name: str | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EventOut(ApiModel):
    id: int
    created_at: datetime
    type: str
    level: str
    message: str
    data: dict[str, Any]  # its shape depends on the type


class EventList(ApiModel):
    object: Literal["list"] = "list"
    data: list[EventOut]
    has_more: bool
    first_id: int | None
    last_id: int | None


class CheckpointOut(ApiModel):
    id: str
    object: Literal["checkpoint"] = "checkpoint"
    step: int
    epoch: int
    attempt: int
    is_best: bool
    size_bytes: int
    metrics: dict[str, float]
    created_at: datetime


class CheckpointList(ApiModel):
    object: Literal["list"] = "list"
    data: list[CheckpointOut]
    has_more: bool = False
    first_id: str | None
    last_id: str | None


def render_job(state: JobState) -> JobOut:
    job, run = state.job, state.run
    return JobOut(
        id=job.id,
        status=lifecycle.shown_status(run),
        terminal=lifecycle.is_terminal(run),
        status_reason=None if run.status_reason is None else ErrorOut.model_validate(run.status_reason),
        queue=_render_queue(state),
        progress=None if run.progress is None else _render_progress(run.progress),
        attempts=[_render_attempt(attempt) for attempt in state.attempts],
        metrics=job.metrics,
        estimate=None if job.estimate is None else Estimate.model_validate(job.estimate),
        best_checkpoint_id=state.best_checkpoint_id,
        model_id=state.model_id,
        dataset_id=job.dataset_id,
        spec=job.spec,
        resolved_spec=job.resolved_spec,
        seed=job.spec["seed"],
        name=job.name,
        metadata=job.details,
        created_at=job.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )


def render_event(event: RunEvent) -> EventOut:
    return EventOut(
        id=event.seq,
        created_at=event.created_at,
        type=event.type,
        level=event.level,
        message=event.message,
        data=event.details,
    )


def render_events(events: list[RunEvent], *, limit: int) -> EventList:
    shown = events[:limit]
    return EventList(
        data=[render_event(event) for event in shown],
        has_more=len(events) > limit,
        first_id=shown[0].seq if shown else None,
        last_id=shown[-1].seq if shown else None,
    )


def render_checkpoints(checkpoints: list[Checkpoint]) -> CheckpointList:
    return CheckpointList(
        data=[
            CheckpointOut(
                id=row.id,
                step=row.step,
                epoch=row.epoch,
                attempt=row.attempt,
                is_best=row.is_best,
                size_bytes=row.size_bytes,
                metrics=row.metrics,
                created_at=row.created_at,
            )
            for row in checkpoints
        ],
        first_id=checkpoints[0].id if checkpoints else None,
        last_id=checkpoints[-1].id if checkpoints else None,
    )


def _render_queue(state: JobState) -> QueueOut | None:
    return None if state.wait is None else QueueOut(position=state.wait.position, reason=state.wait.reason)


def _render_progress(progress: dict[str, Any]) -> ProgressOut:  # core.trainer_protocol.Progress as JSON
    return ProgressOut(percent=round(100 * progress["step"] / max(1, progress["total_steps"]), 1), **progress)


def _render_attempt(attempt: AttemptState) -> AttemptOut:
    return AttemptOut(
        number=attempt.number,
        worker=attempt.worker_id,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        resumed_from_step=attempt.resumed_from_step,
    )
