"""A job with all that a poll shows of it."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy import Row, ScalarSelect, Select, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by
from sqlalchemy.orm import Session

from core.db.tables import Attempt, Checkpoint, Job, Model, Run
from core.runs.waiting import Wait, explain_waits


class AttemptState(BaseModel):
    """An attempt as a poll shows it."""

    model_config = ConfigDict(frozen=True)

    number: int
    worker_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    resumed_from_step: int | None
    metric_segments: int
    log_segments: int


class JobState(NamedTuple):
    """A job with all that a poll shows."""

    job: Job
    run: Run
    attempts: list[AttemptState]
    model_id: str | None
    best_checkpoint_id: str | None
    wait: Wait | None  # while it is queued


_ATTEMPTS = TypeAdapter(list[AttemptState])
_Row = Row[Job, Run, list[dict[str, Any]] | None, str, str]


def find_state(session: Session, project_id: str, job_id: str, *, max_running: int | None = None) -> JobState | None:
    """One query; only a job that is queued needs more."""
    rows = session.execute(_select_state(), {"project_id": project_id, "job_id": job_id}).all()
    states = _make_states(session, rows, max_running)
    return states[0] if states else None


def list_states(
    session: Session, project_id: str, job_ids: list[str], *, max_running: int | None = None
) -> list[JobState]:
    """In the order of their ids as given; as many queries as for one."""
    rows = session.execute(_select_states(), {"project_id": project_id, "job_ids": job_ids}).all()
    states = {state.job.id: state for state in _make_states(session, rows, max_running)}
    return [states[job_id] for job_id in job_ids if job_id in states]


def _make_states(session: Session, rows: Sequence[_Row], max_running: int | None) -> list[JobState]:
    waits = explain_waits(session, [row[1] for row in rows], max_running=max_running)
    return [
        JobState(
            job=job,
            run=run,
            attempts=_ATTEMPTS.validate_python(attempts or []),
            model_id=model_id,
            best_checkpoint_id=best_checkpoint_id,
            wait=waits.get(run.id),
        )
        for job, run, attempts, model_id, best_checkpoint_id in rows
    ]


@cache
def _select_state() -> Select[Job, Run, list[dict[str, Any]] | None, str, str]:
    """Made once: Python takes longer to put it together than PostgreSQL to answer it."""
    return _select_all().where(Job.id == bindparam("job_id"))


@cache
def _select_states() -> Select[Job, Run, list[dict[str, Any]] | None, str, str]:
    return _select_all().where(Job.id.in_(bindparam("job_ids", expanding=True)))


def _select_all() -> Select[Job, Run, list[dict[str, Any]] | None, str, str]:
    return (
        select(Job, Run, _attempts(), _model_id(), _best_checkpoint_id())
        .join(Run, Run.id == Job.run_id)
        .where(Job.project_id == bindparam("project_id"), Job.deleted_at.is_(None))
    )


def _attempts() -> ScalarSelect[list[dict[str, Any]] | None]:
    """The rows as JSON, so that what is large of the job comes once and not with each attempt."""
    rows = func.jsonb_agg(aggregate_order_by(literal_column("attempts"), Attempt.number), type_=JSONB)
    return select(rows).where(Attempt.run_id == Run.id).scalar_subquery()


def _model_id() -> ScalarSelect[str]:
    return select(Model.id).where(Model.job_id == Job.id, Model.deleted_at.is_(None)).scalar_subquery()


def _best_checkpoint_id() -> ScalarSelect[str]:
    best = select(Checkpoint.id).where(Checkpoint.job_id == Job.id, Checkpoint.is_best)
    return best.order_by(Checkpoint.step.desc(), Checkpoint.attempt.desc()).limit(1).scalar_subquery()
