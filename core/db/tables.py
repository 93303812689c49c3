"""Every table. Statuses of jobs and datasets are not stored: they are their run's."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base, Bytes, Created, Id, Json, PrimaryId, Sha256


class Project(Base):
    """A tenant; every row that a user can name belongs to one."""

    __tablename__ = "projects"

    id: Mapped[PrimaryId]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[Created]


class Key(Base):
    """An API key; the secret itself is never stored."""

    __tablename__ = "keys"
    __table_args__ = (UniqueConstraint("project_id", "id"),)

    id: Mapped[PrimaryId]
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str] = mapped_column(String(200))
    secret_sha256: Mapped[Sha256] = mapped_column(unique=True)
    scopes: Mapped[list[Any]]  # a list of strings
    created_at: Mapped[Created]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Run(Base):
    """One unit of long work; `attempt` fences every write of its worker."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "waits_for_run_id"], ["runs.project_id", "runs.id"]),
        CheckConstraint("status in ('queued','running','paused','succeeded','failed','cancelled')", name="status"),
        CheckConstraint("kind in ('import','train','probe')", name="kind"),
        Index("ix_runs_queued", "queue", "priority", "project_id", "id", postgresql_where=text("status = 'queued'")),
        Index("ix_runs_running", "queue", "project_id", postgresql_where=text("status = 'running'")),
        Index("ix_runs_reserved", "reserved_worker_id", postgresql_where=text("reserved_worker_id is not null")),
        Index("ix_runs_waits_for", "waits_for_run_id", postgresql_where=text("status = 'queued'")),
    )

    id: Mapped[PrimaryId]
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str] = mapped_column(String(20))
    queue: Mapped[str] = mapped_column(String(20))
    status: Mapped[str] = mapped_column(String(20))
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    attempt: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    failures: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # count by failure class
    losses: Mapped[int] = mapped_column(Integer, server_default=text("0"))  # in a row, without a new checkpoint
    gpus: Mapped[int | None] = mapped_column(SmallInteger)  # None takes one where there is one
    waits_for_run_id: Mapped[Id | None]
    run_after: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    hinted_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    max_runtime_seconds: Mapped[int | None]
    max_queue_seconds: Mapped[int | None]
    worker_id: Mapped[Id | None]
    reserved_worker_id: Mapped[Id | None]  # it claims nothing else until the run fits
    lease_expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    pause_requested_at: Mapped[datetime | None]
    progress: Mapped[Json | None]
    status_reason: Mapped[Json | None]
    event_seq: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[Created]
    queued_at: Mapped[Created]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """One worker's try at a run."""

    __tablename__ = "attempts"

    run_id: Mapped[Id] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    worker_id: Mapped[Id]
    started_at: Mapped[Created]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    resumed_from_step: Mapped[int | None]
    metric_segments: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    log_segments: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class RunEvent(Base):
    """What happened to a run; `seq` counts from 1 without gaps and is the readers' cursor."""

    __tablename__ = "run_events"

    run_id: Mapped[Id] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    created_at: Mapped[Created]
    type: Mapped[str] = mapped_column(String(50))
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(Text)
    details: Mapped[Json] = mapped_column(server_default=text("'{}'"))


class Upload(Base):
    """Bytes on their way in, kept until imported. Those that became no dataset by `expires_at` are deleted."""

    __tablename__ = "uploads"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        Index("ix_uploads_expires_at", "expires_at", postgresql_where=text("expires_at is not null")),
    )

    id: Mapped[PrimaryId]
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    filename: Mapped[str] = mapped_column(String(500))
    storage_key: Mapped[str] = mapped_column(String(1000))
    multipart_id: Mapped[str | None] = mapped_column(String(1000))  # of one whose parts the client sends to the store
    part_bytes: Mapped[Bytes | None]
    size_bytes: Mapped[Bytes | None]
    sha256: Mapped[Sha256 | None]  # as we have computed it
    expected_sha256: Mapped[Sha256 | None]  # as the client has
    created_at: Mapped[Created]
    expires_at: Mapped[datetime | None]  # None: a dataset has it
    completed_at: Mapped[datetime | None]


class Dataset(Base):
    """Labelled pictures; `attempt`, and all from `size_bytes` on, is set by the import that succeeded."""

    __tablename__ = "datasets"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"]),
        ForeignKeyConstraint(["project_id", "upload_id"], ["uploads.project_id", "uploads.id"]),
        Index("ix_datasets_run_id", "run_id"),
        Index("uq_datasets_upload_id", "upload_id", unique=True),
    )

    id: Mapped[PrimaryId]
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    run_id: Mapped[Id]
    upload_id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200))
    details: Mapped[Json] = mapped_column("metadata", server_default=text("'{}'"))
    source_url: Mapped[str | None] = mapped_column(String(2048))
    test_fraction: Mapped[float] = mapped_column(Float)
    created_at: Mapped[Created]
    deleted_at: Mapped[datetime | None]
    attempt: Mapped[int | None]
    sha256: Mapped[Sha256 | None]  # of the archive, as soon as it is known
    archive_size_bytes: Mapped[Bytes | None]
    size_bytes: Mapped[Bytes | None]  # of what is stored of it
    num_samples: Mapped[int | None]
    classes: Mapped[list[Any] | None]  # [{name, train, val, test}] in the frozen order
    report: Mapped[Json | None]
    files: Mapped[list[Any] | None]  # [{name, size_bytes, sha256}] below the attempt's prefix


class Backbone(Base):
    """Pre-trained weights that the operator put into the store."""

    __tablename__ = "backbones"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    sha256: Mapped[Sha256]
    size_bytes: Mapped[Bytes]
    description: Mapped[Json]  # core.backbones.BackboneDescription
    created_at: Mapped[Created]


class Job(Base):
    """One request to fine-tune."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"]),
        ForeignKeyConstraint(["project_id", "dataset_id"], ["datasets.project_id", "datasets.id"]),
        Index("ix_jobs_run_id", "run_id"),
        Index("ix_jobs_dataset_id", "dataset_id"),
    )

    id: Mapped[PrimaryId]
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    run_id: Mapped[Id]
    dataset_id: Mapped[Id]
    name: Mapped[str | None] = mapped_column(String(200))
    details: Mapped[Json] = mapped_column("metadata", server_default=text("'{}'"))
    spec: Mapped[Json]
    resolved_spec: Mapped[Json | None]
    metrics: Mapped[Json] = mapped_column(server_default=text("'{}'"))  # the last value of each
    estimate: Mapped[Json | None]  # core.speeds.Estimate, made when the spec was resolved
    created_at: Mapped[Created]
    deleted_at: Mapped[datetime | None]


class SpeedMeasurement(Base):
    """How fast one kind of training goes here: asked of a probe, or seen in a job that finished."""

    __tablename__ = "speed_measurements"
    __table_args__ = (
        ForeignKeyConstraint(["project_id", "run_id"], ["runs.project_id", "runs.id"]),
        Index("ix_speed_measurements_workload", "workload", "measured_at"),
    )

    run_id: Mapped[PrimaryId]  # the probe or the job that measured it
    project_id: Mapped[Id]
    workload: Mapped[Sha256]  # of all that decides about the speed: core.speeds
    probe: Mapped[Json | None]  # core.speeds.ProbeRequest; None for a job
    speed: Mapped[Json | None]  # core.trainer_protocol.Speed; None until measured
    created_at: Mapped[Created]
    measured_at: Mapped[datetime | None]


class Checkpoint(Base):
    """A resumable state; it exists because this row does."""

    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        UniqueConstraint("job_id", "attempt", "step"),
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
    )

    id: Mapped[PrimaryId]
    project_id: Mapped[Id]
    job_id: Mapped[Id]
    attempt: Mapped[int]
    step: Mapped[int]
    epoch: Mapped[int]
    is_best: Mapped[bool]
    manifest_sha256: Mapped[Sha256]
    size_bytes: Mapped[Bytes]
    metrics: Mapped[Json]
    created_at: Mapped[Created]


class Model(Base):
    """A fine-tuned model that can predict."""

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("project_id", "id"),
        ForeignKeyConstraint(["project_id", "job_id"], ["jobs.project_id", "jobs.id"]),
        Index("uq_models_job_id", "job_id", unique=True),
    )

    id: Mapped[PrimaryId]
    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[Id]
    attempt: Mapped[int]
    name: Mapped[str | None] = mapped_column(String(200))
    weights_sha256: Mapped[Sha256]
    weights_size_bytes: Mapped[Bytes]
    card_sha256: Mapped[Sha256]
    card_size_bytes: Mapped[Bytes]
    card: Mapped[Json]  # model.json
    created_at: Mapped[Created]
    deleted_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """What a POST with this key answered; `locked_until` is the lease of one still in flight."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    route: Mapped[str] = mapped_column(String(200))
    body_sha256: Mapped[Sha256]
    locked_until: Mapped[datetime | None]
    status_code: Mapped[int | None]
    response: Mapped[Json | None]
    created_at: Mapped[Created]


class Worker(Base):
    """A worker process that was seen lately."""

    __tablename__ = "workers"

    id: Mapped[PrimaryId]
    hostname: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    queue: Mapped[str] = mapped_column(String(20))
    slots: Mapped[int]
    gpus: Mapped[int]
    code_version: Mapped[str] = mapped_column(String(50))
    started_at: Mapped[Created]
    heartbeat_at: Mapped[Created]
    left_at: Mapped[datetime | None]
    swept_at: Mapped[datetime | None]  # the last round that it led
    sweep_seconds: Mapped[float | None] = mapped_column(Float)
    storage_errors: Mapped[Bytes] = mapped_column(server_default=text("0"))  # since it started


class Deletion(Base):
    """A prefix of the store that has to go; written with the row's mark, removed once the store is clean."""

    __tablename__ = "deletion_outbox"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    prefix: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[Created]
    tried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))


class Installation(Base):
    """One row: the name that this database has in its bucket, and how the collection of orphans goes there."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="single"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, server_default=text("1"))
    name: Mapped[Id]
    created_at: Mapped[Created]
    collection_started_at: Mapped[datetime | None]  # the last one, whether it finished or not
    orphans_collected_at: Mapped[datetime | None]  # the last one that finished
