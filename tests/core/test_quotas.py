from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.datasets import create_dataset_from_upload, create_dataset_from_url, record_fetched
from core.db.session import SessionFactory
from core.db.tables import Checkpoint, Dataset, Job, Model, Upload
from core.jobs import create_job, delete_job, resume_job
from core.quotas import (
    QuotaError,
    QuotaName,
    Quotas,
    charge_bytes,
    charge_job,
    charge_upload,
    read_quotas,
    read_usage,
    reset_quota,
    set_quota,
)
from core.runs import lifecycle
from core.runs.types import RunKind
from core.specs import TrainingSpec
from core.storage import StoredObject
from core.uploads import complete_upload, start_upload
from tests.factories import claim_run, make_backbone, make_dataset, make_job, make_project, make_run

PARALLEL = 50


def create_dataset(session: Session, project_id: str, quotas: Quotas) -> None:
    create_dataset_from_url(
        session,
        project_id=project_id,
        name="cells",
        url="https://a.test/b.zip",
        test_fraction=0.2,
        metadata={},
        quotas=quotas,
    )


def post_job(session: Session, project_id: str, dataset: Dataset, quotas: Quotas) -> None:
    create_job(
        session,
        project_id=project_id,
        spec=TrainingSpec(backbone="tiny"),
        dataset_id=dataset.id,
        dataset_url=None,
        name=None,
        metadata={},
        quotas=quotas,
    )


def store_upload(session: Session, project_id: str, size_bytes: int) -> Upload:
    upload = start_upload(session, project_id=project_id, filename="a.zip", lifetime_hours=None)
    complete_upload(session, upload.id, StoredObject(size_bytes=size_bytes, sha256="a" * 64))
    session.flush()
    return upload


def count_accepted(sessions: SessionFactory, create: Callable[[Session], object]) -> int:
    """Of many at once, each in a transaction of its own."""

    def is_accepted(_: int) -> bool:
        try:
            with sessions.begin() as session:
                create(session)
        except QuotaError:
            return False
        return True

    with ThreadPoolExecutor(10) as pool:
        return sum(pool.map(is_accepted, range(PARALLEL)))


def test_parallel_datasets_never_exceed_the_quota(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        project_id = make_project(session)
        make_dataset(session, project_id=project_id)

    accepted = count_accepted(sessions, lambda session: create_dataset(session, project_id, Quotas(datasets=8)))

    with sessions() as session:
        assert (accepted, session.scalar(select(func.count()).select_from(Dataset))) == (7, 8)


def test_parallel_jobs_never_exceed_the_quota(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        project_id = make_project(session)
        make_backbone(session)
        dataset = make_dataset(session, project_id=project_id)

    accepted = count_accepted(sessions, lambda session: post_job(session, project_id, dataset, Quotas(queued_jobs=8)))

    with sessions() as session:
        assert (accepted, session.scalar(select(func.count()).select_from(Job))) == (8, 8)


def test_parallel_uploads_never_exceed_the_quota(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        project_id = make_project(session)

    def start(session: Session) -> None:
        charge_upload(session, project_id, Quotas(uploads_at_once=8))
        start_upload(session, project_id=project_id, filename="a.zip", lifetime_hours=None)

    assert count_accepted(sessions, start) == 8


def test_parallel_bytes_never_exceed_the_quota(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        project_id = make_project(session)

    def store(session: Session) -> None:
        charge_bytes(session, project_id, Quotas(stored_bytes=850), size_bytes=100)
        store_upload(session, project_id, 100)

    assert count_accepted(sessions, store) == 8
    with sessions() as session:
        assert read_usage(session, project_id).stored_bytes == 800


def test_projects_do_not_share_a_quota(session: Session) -> None:
    create_dataset(session, make_project(session), Quotas(datasets=1))
    create_dataset(session, make_project(session), Quotas(datasets=1))


def test_deleted_dataset_makes_room(session: Session) -> None:
    project_id = make_project(session)
    make_dataset(session, project_id=project_id).deleted_at = datetime.now(UTC)
    session.flush()

    create_dataset(session, project_id, Quotas(datasets=1))


def test_started_job_makes_room_in_the_queue(session: Session) -> None:
    project_id = make_project(session)
    dataset = make_dataset(session, project_id=project_id)
    make_job(session, project_id=project_id, dataset=dataset)
    with pytest.raises(QuotaError) as caught:
        post_job(session, project_id, dataset, Quotas(queued_jobs=1))
    assert (caught.value.code, caught.value.retryable) == ("quota_queued_jobs", True)

    claim_run(session)

    post_job(session, project_id, dataset, Quotas(queued_jobs=1))
    usage = read_usage(session, project_id)
    assert (usage.queued_jobs, usage.running_jobs) == (1, 1)


def test_probe_waits_in_the_same_queue_and_counts(session: Session) -> None:
    project_id = make_project(session)
    make_run(session, kind=RunKind.PROBE, project_id=project_id)

    with pytest.raises(QuotaError):
        charge_job(session, project_id, Quotas(queued_jobs=1))


def test_resumed_job_counts_like_a_new_one(session: Session) -> None:
    project_id = make_project(session)
    dataset = make_dataset(session, project_id=project_id)
    job = make_job(session, project_id=project_id, dataset=dataset)
    lifecycle.request_pause(session, job.run_id)
    post_job(session, project_id, dataset, Quotas(queued_jobs=1))

    with pytest.raises(QuotaError):
        resume_job(session, project_id, job.id, Quotas(queued_jobs=1))


def test_own_quota_goes_before_the_setting(session: Session) -> None:
    project_id = make_project(session)
    defaults = Quotas(datasets=5, queued_jobs=5)

    set_quota(session, project_id, QuotaName.DATASETS, 1)
    set_quota(session, project_id, QuotaName.DATASETS, 2)
    set_quota(session, project_id, QuotaName.QUEUED_JOBS, None)
    assert read_quotas(session, project_id, defaults) == Quotas(datasets=2, queued_jobs=None)

    reset_quota(session, project_id, QuotaName.DATASETS)
    assert read_quotas(session, project_id, defaults) == Quotas(datasets=5, queued_jobs=None)


def test_stored_bytes_are_archives_datasets_checkpoints_and_models(session: Session) -> None:
    project_id = make_project(session)
    dataset = make_dataset(session, project_id=project_id)
    dataset.size_bytes = 1
    job = make_job(session, project_id=project_id, dataset=dataset)
    run = {"project_id": project_id, "job_id": job.id, "attempt": 1}
    session.add(
        Checkpoint(id="c", **run, step=1, epoch=1, is_best=True, manifest_sha256="a" * 64, size_bytes=10, metrics={})
    )
    files = {"weights_sha256": "a" * 64, "card_sha256": "a" * 64}
    session.add(Model(id="m", **run, weights_size_bytes=90, card_size_bytes=10, card={}, **files))
    store_upload(session, project_id, 1000)
    assert read_usage(session, project_id).stored_bytes == 1111

    lifecycle.request_cancel(session, job.run_id)
    delete_job(session, project_id, job.id)
    session.flush()

    assert read_usage(session, project_id).stored_bytes == 1101


def test_imported_archive_takes_no_room(session: Session) -> None:
    project_id = make_project(session)
    upload = store_upload(session, project_id, 1000)
    state = create_dataset_from_upload(
        session, project_id=project_id, name="a", upload_id=upload.id, test_fraction=0.2, metadata={}
    )
    assert read_usage(session, project_id).stored_bytes == 1000

    lifecycle.request_cancel(session, state.run.id)
    session.flush()

    assert read_usage(session, project_id).stored_bytes == 0


def test_upload_of_a_process_that_died_is_forgotten(session: Session) -> None:
    project_id = make_project(session)
    upload = start_upload(session, project_id=project_id, filename="a.zip", lifetime_hours=None)
    assert read_usage(session, project_id).uploads_at_once == 1

    upload.created_at -= timedelta(minutes=16)
    session.flush()

    assert read_usage(session, project_id).uploads_at_once == 0


def test_upload_in_parts_counts_until_it_expires_with_the_bytes_it_announced(session: Session) -> None:
    project_id = make_project(session)
    upload = start_upload(session, project_id=project_id, filename="a.zip", lifetime_hours=None)
    upload.multipart_id, upload.size_bytes = "parts", 1000
    upload.created_at -= timedelta(hours=1)
    upload.expires_at = datetime.now(UTC) + timedelta(hours=1)
    session.flush()
    usage = read_usage(session, project_id)
    assert (usage.uploads_at_once, usage.stored_bytes) == (1, 1000)

    upload.expires_at = datetime.now(UTC)
    session.flush()

    usage = read_usage(session, project_id)
    assert (usage.uploads_at_once, usage.stored_bytes) == (0, 0)


def test_full_store_takes_no_upload(session: Session) -> None:
    project_id = make_project(session)
    store_upload(session, project_id, 1000)

    with pytest.raises(QuotaError) as caught:
        charge_upload(session, project_id, Quotas(stored_bytes=1000))

    assert (caught.value.code, caught.value.retryable) == ("quota_stored_bytes", False)


def test_archive_that_the_importer_fetches_is_no_upload_of_the_project(session: Session) -> None:
    project_id = make_project(session)
    make_dataset(session, project_id=project_id, ready=False)

    assert read_usage(session, project_id).uploads_at_once == 0


def test_archive_recorded_again_after_a_lost_answer_is_charged_once(session: Session) -> None:
    dataset = make_dataset(session, project_id=make_project(session), ready=False)
    held = claim_run(session, queue="imports")
    stored = StoredObject(size_bytes=600, sha256="a" * 64)

    for _ in range(2):
        record_fetched(session, held, "uploads/a", stored, Quotas(stored_bytes=1000))
        session.flush()

    assert read_usage(session, dataset.project_id).stored_bytes == 600


def test_archive_that_a_url_gave_is_charged(session: Session) -> None:
    make_dataset(session, project_id=make_project(session), ready=False)
    held = claim_run(session, queue="imports")

    with pytest.raises(QuotaError):
        record_fetched(
            session, held, "uploads/a", StoredObject(size_bytes=1001, sha256="a" * 64), Quotas(stored_bytes=1000)
        )
