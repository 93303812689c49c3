"""How long a job will take: from the speed that a short probe, or a job that finished, measured here."""

import hashlib
import json
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.db.tables import Run, SpeedMeasurement
from core.resolution import DatasetFacts, count_steps_per_epoch
from core.runs import claims, lifecycle
from core.runs.types import Claim, RunKind
from core.specs import ResolvedSpec
from core.states import TERMINAL
from core.trainer_protocol import Speed

PROBE_SECONDS = 300
METHOD_FIELDS = {"type", "queue_size", "projection_dim", "projector"}  # those that cost time
TRAINING_FIELDS = {"batch_size", "micro_batch_size", "image_size", "augmentation", "batch_norm", "precision"}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProbeRequest(_Frozen):
    spec: ResolvedSpec
    classes: list[str]


class Estimate(_Frozen):
    """Of training and evaluation, without import, download and decoding."""

    seconds: float
    total_steps: int
    is_upper_bound: bool  # early stopping may end it before
    device: str
    measured_by: Literal["probe", "job"]
    actual_seconds: float | None = None  # once it finished in one attempt
    error: float | None = None  # actual / estimated - 1


class JobSize(NamedTuple):
    """How much there is to do."""

    spec: ResolvedSpec
    dataset: DatasetFacts

    @property
    def total_steps(self) -> int:
        training = self.spec.training
        steps = training.epochs * count_steps_per_epoch(self.dataset.train_samples, training.batch_size)
        return len(self.spec.contenders) * steps

    @property
    def validated_pictures(self) -> int:
        """After each epoch, and at the end by the model's own temperature."""
        per_contender = self.spec.training.epochs * self.dataset.val_samples + self.dataset.test_samples
        return len(self.spec.contenders) * per_contender + self.dataset.val_samples


def find_estimate(session: Session, size: JobSize) -> Estimate | None:
    """None where nothing like it was measured yet."""
    row = session.scalars(
        select(SpeedMeasurement)
        .where(SpeedMeasurement.workload == _hash_workload(size), SpeedMeasurement.measured_at.is_not(None))
        .order_by(SpeedMeasurement.measured_at.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else _estimate(size, row)


def request_probe(session: Session, project_id: str, size: JobSize) -> Run:
    """One at a time for each workload: asked again, the one that waits or runs is given."""
    workload = _hash_workload(size)
    session.execute(select(func.pg_advisory_xact_lock(int(workload[:15], 16))))
    pending = session.scalars(
        select(Run)
        .join(SpeedMeasurement, SpeedMeasurement.run_id == Run.id)
        .where(SpeedMeasurement.workload == workload, Run.status.not_in(TERMINAL))
        .limit(1)
    ).one_or_none()
    return pending or _submit_probe(session, project_id, workload, size)


def get_probe_request(session: Session, held: Claim) -> ProbeRequest:
    return ProbeRequest.model_validate(session.get_one(SpeedMeasurement, held.run_id).probe)


def record_probe(session: Session, held: Claim, speed: Speed) -> None:
    """The probe has succeeded."""
    claims.guard(session, held)
    row = session.get_one(SpeedMeasurement, held.run_id)
    row.speed, row.measured_at = speed.model_dump(), session.scalar(select(func.clock_timestamp()))
    claims.succeed(session, held)


def record_job_speed(session: Session, held: Claim, size: JobSize, speed: Speed) -> None:
    """What a finished job has seen serves the estimates of those like it."""
    claims.guard(session, held)
    session.merge(
        SpeedMeasurement(
            run_id=held.run_id,
            project_id=held.project_id,
            workload=_hash_workload(size),
            probe=None,
            speed=speed.model_dump(),
            measured_at=session.scalar(select(func.clock_timestamp())),
        )
    )


def settle(estimate: Estimate, actual_seconds: float) -> Estimate:
    error = actual_seconds / estimate.seconds - 1
    return estimate.model_copy(update={"actual_seconds": round(actual_seconds, 1), "error": round(error, 3)})


def _submit_probe(session: Session, project_id: str, workload: str, size: JobSize) -> Run:
    run = lifecycle.submit(
        session,
        project_id=project_id,
        kind=RunKind.PROBE,
        gpus=size.spec.asked_gpus,
        max_runtime_seconds=PROBE_SECONDS,
    )
    request = ProbeRequest(spec=size.spec, classes=list(size.dataset.class_counts))
    session.add(
        SpeedMeasurement(run_id=run.id, project_id=project_id, workload=workload, probe=request.model_dump(mode="json"))
    )
    session.flush()
    return run


def _estimate(size: JobSize, row: SpeedMeasurement) -> Estimate:
    speed = Speed.model_validate(row.speed)
    steps_seconds = size.total_steps * speed.seconds_per_step
    pictures_seconds = size.validated_pictures * speed.seconds_per_picture
    return Estimate(
        seconds=round(steps_seconds + pictures_seconds + speed.seconds_beside, 1),
        total_steps=size.total_steps,
        is_upper_bound=size.spec.training.early_stopping is not None,
        device=speed.device,
        measured_by="job" if row.probe is None else "probe",
    )


def _hash_workload(size: JobSize) -> str:
    """Of everything that decides about the speed of a step."""
    spec = size.spec
    parts = {
        "backbone": [spec.backbone, spec.backbone_sha256],
        "gpus": spec.gpus,
        "methods": [method.model_dump(include=METHOD_FIELDS) for method in spec.contenders],
        "training": spec.training.model_dump(include=TRAINING_FIELDS),
        "short_batch": min(spec.training.batch_size, size.dataset.train_samples),
        "num_classes": size.dataset.num_classes,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
