"""Use cases of jobs, on the real database."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from core.db.tables import Job
from core.errors import InvalidInputError
from core.jobs import create_job, list_jobs
from core.paging import PageRequest
from core.specs import TrainingSpec
from tests.factories import claim_run, make_backbone, make_dataset, make_job, make_project, make_worker


@contextmanager
def counted_statements(session: Session) -> Iterator[list[str]]:
    statements: list[str] = []
    connection = session.connection()

    def note(_: Connection, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(connection, "before_cursor_execute", note)


def make_jobs(session: Session, count: int) -> list[Job]:
    project_id = make_project(session)
    dataset = make_dataset(session, project_id=project_id)
    return [make_job(session, project_id=project_id, dataset=dataset) for _ in range(count)]


def test_page_shows_each_job_with_its_own_state(session: Session) -> None:
    jobs = make_jobs(session, 3)
    claim_run(session)  # the oldest
    session.expire_all()

    page = list_jobs(session, jobs[0].project_id, PageRequest(limit=2, order="asc"))

    shown = [(state.job.id, state.run.status, state.wait and state.wait.position) for state in page.rows]
    assert shown == [(jobs[0].id, "running", None), (jobs[1].id, "queued", 1)]
    assert [len(state.attempts) for state in page.rows] == [1, 0]
    assert page.has_more


def test_longer_page_asks_no_more_queries(session: Session) -> None:
    [job, *_] = make_jobs(session, 6)
    counts = []
    for limit in (1, 6):
        session.expunge_all()
        with counted_statements(session) as statements:
            list_jobs(session, job.project_id, PageRequest(limit=limit))
        counts.append(len(statements))

    assert counts == [4, 4]


def ask_for(session: Session, gpus: int, *, configured_gpus: int | None) -> None:
    project_id = make_project(session)
    create_job(
        session,
        project_id=project_id,
        spec=TrainingSpec(backbone=make_backbone(session).name, gpus=gpus),
        dataset_id=make_dataset(session, project_id=project_id).id,
        dataset_url=None,
        name=None,
        metadata={},
        configured_gpus=configured_gpus,
    )


@pytest.mark.parametrize(("seen", "configured"), [(None, None), (4, None), (None, 4), (2, 4), (4, 2)])
def test_job_that_some_worker_will_be_able_to_run_is_accepted(
    session: Session, seen: int | None, configured: int | None
) -> None:
    if seen is not None:
        make_worker(session, gpus=seen)

    ask_for(session, 4, configured_gpus=configured)


@pytest.mark.parametrize(("seen", "configured"), [(2, None), (None, 2), (2, 2), (None, 0)])
def test_job_that_no_worker_will_be_able_to_run_is_refused(
    session: Session, seen: int | None, configured: int | None
) -> None:
    if seen is not None:
        make_worker(session, gpus=seen)

    with pytest.raises(InvalidInputError, match="asks for 4 GPUs"):
        ask_for(session, 4, configured_gpus=configured)
