"""What becomes of a run when a server stays away from the attempt."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cli.ports import find_free_port
from core.db.session import SessionFactory
from core.db.tables import Attempt, Run
from core.runs import lifecycle
from core.settings import Settings
from core.states import RunStatus
from tests.factories import claim_run, make_dataset, make_job, make_project
from tests.worker.contexts import make_context
from tests.worker.outages import RefusedCommit
from worker.context import WorkerContext
from worker.execution import execute


@pytest.fixture
def context(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> Iterator[WorkerContext]:
    """Of a worker whose store is away for longer than an attempt waits."""
    away = f"http://127.0.0.1:{find_free_port(set())}"
    changes = {"s3_endpoint_url": away, "outage_seconds": 0.5, "home": tmp_path, "heartbeat_seconds": 0.2}
    context = make_context(settings.model_copy(update=changes), sessions, tmp_path / "work")
    context.work_dirs.open()
    yield context
    context.work_dirs.close()


@pytest.fixture
def run(session: Session) -> Run:
    project_id = make_project(session)
    job = make_job(session, project_id=project_id, dataset=make_dataset(session, project_id=project_id))
    return session.get_one(Run, job.run_id)


def test_run_is_handed_back_for_free_when_the_store_stays_away(
    context: WorkerContext, run: Run, session: Session
) -> None:
    held = claim_run(session)
    session.commit()

    execute(context, held, devices=[])

    session.refresh(run)
    assert (run.status, run.failures, run.losses) == (RunStatus.QUEUED, {}, 0)
    assert session.get_one(Attempt, (run.id, 1)).outcome == "requeued"
    assert run.run_after > run.queued_at  # it rests, so that it does not hammer a store that is down


def test_cancel_is_not_held_up_by_a_store_that_is_away(context: WorkerContext, run: Run, session: Session) -> None:
    held = claim_run(session)
    lifecycle.request_cancel(session, run.id)
    session.commit()

    execute(context, held, devices=[])

    session.refresh(run)
    assert run.status == RunStatus.CANCELLED
    assert run.status_reason is not None
    assert run.status_reason["code"] == "cancelled"
    assert list(context.settings.work_dir.glob("*/run_*")) == []


def test_last_write_is_tried_again_while_the_worker_stops(
    context: WorkerContext, run: Run, session: Session, sessions: SessionFactory
) -> None:
    """An outage of a second in the middle of a deploy is no loss of a worker."""
    held = claim_run(session)
    session.commit()
    refused = RefusedCommit(sessions, "requeued")
    patient = replace(context, settings=context.settings.model_copy(update={"outage_seconds": 30}))
    patient.stopping.set()

    execute(patient, held, devices=[])

    session.refresh(run)
    assert refused.happened
    assert (run.status, run.failures) == (RunStatus.QUEUED, {})


def test_full_disk_is_no_loss_of_the_worker(context: WorkerContext, run: Run, session: Session) -> None:
    """Not even a folder can be made on it."""
    held = claim_run(session)
    session.commit()
    context.work_dirs.close()  # as good as full: there is no folder to make it in

    execute(context, held, devices=[])

    session.refresh(run)
    assert run.status == RunStatus.QUEUED
    assert list(run.failures) == ["crash"]
