"""Use cases of jobs, on the real database."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from core.db.tables import Job
from core.jobs import list_jobs
from core.paging import PageRequest
from tests.factories import claim_run, make_dataset, make_job, make_project


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
