"""Use cases of datasets in transactions side by side, on the real database."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from core.datasets import ImportedDataset, delete_dataset, finish_import
from core.db.session import SessionFactory
from core.db.tables import Dataset, Deletion, Run
from core.errors import ConflictError, NotFoundError
from core.runs import claims, lifecycle
from core.runs.sweeps import lose_expired
from core.runs.types import MAX_LOSSES, FailureClass, StatusReason
from tests.conditions import wait_until
from tests.factories import claim_run, make_backbone, make_dataset, make_job, make_project

WAITING = text("select count(*) from pg_locks where not granted")
REASON = StatusReason(code="broken", message="it broke", owner="data")


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


def read_outbox(session: Session) -> set[str]:
    session.flush()
    return set(session.scalars(select(Deletion.prefix)))


def test_import_that_is_cancelled_in_the_queue_leaves_nothing(session: Session) -> None:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)

    lifecycle.request_cancel(session, dataset.run_id)

    assert read_outbox(session) == {f"uploads/{dataset.upload_id}/", f"datasets/{dataset.id}/"}


def test_import_that_a_worker_stops_leaves_nothing(session: Session) -> None:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)

    claims.stop_cancelled(session, claim_run(session, queue="imports"))

    assert read_outbox(session) == {f"uploads/{dataset.upload_id}/", f"datasets/{dataset.id}/"}


def test_import_that_the_sweep_ends_leaves_nothing(session: Session) -> None:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)
    for _ in range(MAX_LOSSES):
        assert read_outbox(session) == set()
        session.execute(update(Run).values(run_after=Run.created_at))
        claim_run(session, queue="imports", lease_seconds=-1)
        lose_expired(session)

    assert read_outbox(session) == {f"uploads/{dataset.upload_id}/", f"datasets/{dataset.id}/"}


def test_import_that_is_tried_again_keeps_its_upload(session: Session) -> None:
    make_dataset(session, project_id=make_project(session), ready=False)

    claims.fail(session, claim_run(session, queue="imports"), FailureClass.CRASH, REASON)

    assert read_outbox(session) == set()


def test_import_that_succeeds_keeps_its_dataset_alone(session: Session) -> None:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)
    imported = ImportedDataset(num_samples=0, classes=[], report={}, files=[])

    finish_import(session, claim_run(session, queue="imports"), imported)

    assert read_outbox(session) == {f"uploads/{dataset.upload_id}/"}
