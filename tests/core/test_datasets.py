"""Use cases of datasets in transactions side by side, on the real database."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from core.datasets import delete_dataset
from core.db.session import SessionFactory
from core.db.tables import Dataset
from core.errors import ConflictError, NotFoundError
from tests.conditions import wait_until
from tests.factories import make_backbone, make_dataset, make_job, make_project

WAITING = text("select count(*) from pg_locks where not granted")


@pytest.fixture
def dataset(sessions: SessionFactory) -> Dataset:
    with sessions.begin() as session:
        make_backbone(session)
        return make_dataset(session, project_id=make_project(session))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def meet(
    sessions: SessionFactory,
    pool: ThreadPoolExecutor,
    first: Callable[[Session], object],
    second: Callable[[Session], object],
) -> Future[None]:
    """`first` commits once `second` waits for it, or has not waited at all."""

    def run_second() -> None:
        with sessions.begin() as session:
            second(session)

    with sessions.begin() as session:
        first(session)
        future = pool.submit(run_second)
        with sessions() as watcher:
            wait_until(lambda: future.done() or bool(watcher.scalar(WAITING)), seconds=10)
    return future


def test_dataset_of_a_job_that_is_being_posted_cannot_be_deleted(
    sessions: SessionFactory, pool: ThreadPoolExecutor, dataset: Dataset
) -> None:
    deletion = meet(
        sessions,
        pool,
        lambda session: make_job(session, project_id=dataset.project_id, dataset=dataset),
        lambda session: delete_dataset(session, dataset.project_id, dataset.id),
    )

    with pytest.raises(ConflictError, match="needs it"):
        deletion.result()


def test_job_on_a_dataset_that_is_being_deleted_is_refused(
    sessions: SessionFactory, pool: ThreadPoolExecutor, dataset: Dataset
) -> None:
    posting = meet(
        sessions,
        pool,
        lambda session: delete_dataset(session, dataset.project_id, dataset.id),
        lambda session: make_job(session, project_id=dataset.project_id, dataset=dataset),
    )

    with pytest.raises(NotFoundError, match="no dataset"):
        posting.result()


def test_two_jobs_on_one_dataset_do_not_wait_for_each_other(
    sessions: SessionFactory, pool: ThreadPoolExecutor, dataset: Dataset
) -> None:
    def post(session: Session) -> None:
        session.execute(select(func.set_config("lock_timeout", "1s", True)))
        make_job(session, project_id=dataset.project_id, dataset=dataset)

    meet(sessions, pool, post, post).result()
