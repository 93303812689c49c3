"""Imports on the real database and store, with the real child process."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import uploads
from core.datasets import DatasetState, create_dataset_from_upload, create_dataset_from_url
from core.db.session import SessionFactory
from core.db.tables import Dataset, Deletion, Run, Upload
from core.ids import make_id
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import upload_prefix
from tests.factories import claim_run, make_project
from tests.pictures import make_archive
from tests.worker.contexts import make_context
from worker.execution import execute


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_archive(tmp_path_factory.mktemp("archive") / "a", {"cat": 6, "dog": 6}, kind="zip").read_bytes()


@pytest.fixture(scope="module")
def lake(storage: Storage) -> Iterator[Storage]:
    lake = storage.for_bucket("lake")
    lake.ensure_bucket()
    yield lake
    lake.delete_prefix("")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_from_upload(session: Session, storage: Storage, content: bytes, *, expected: str | None) -> DatasetState:
    """As a client does that sends one part."""
    project_id, upload_id = make_project(session), make_id("upload")
    uploads.start_client_upload(
        session,
        project_id=project_id,
        upload_id=upload_id,
        filename="a.zip",
        size_bytes=len(content),
        sha256=expected,
        multipart_id="at the store",
        part_bytes=5 * 1024**2,
        lifetime_hours=1,
    )
    storage.put_bytes(uploads.make_upload_key(upload_id), content)
    uploads.complete_client_upload(session, project_id, upload_id)
    state = create_dataset_from_upload(
        session, project_id=project_id, name="cells", upload_id=upload_id, test_fraction=0.2, metadata={}
    )
    session.commit()
    return state


def make_from_url(session: Session, url: str) -> DatasetState:
    state = create_dataset_from_url(
        session, project_id=make_project(session), name="cells", url=url, test_fraction=0.2, metadata={}
    )
    session.commit()
    return state


def run_import(settings: Settings, sessions: SessionFactory, work_dir: Path) -> None:
    context = make_context(settings, sessions, work_dir)
    context.work_dirs.open()
    try:
        with context.transaction() as session:
            held = claim_run(session, queue="imports")
        execute(context, held, [])
    finally:
        context.work_dirs.close()


def read(sessions: SessionFactory, state: DatasetState) -> tuple[Dataset, Run]:
    with sessions() as session:
        return session.get_one(Dataset, state.dataset.id), session.get_one(Run, state.run.id)


def read_code(run: Run) -> str:
    assert run.status == "failed"
    assert run.status_reason is not None
    return str(run.status_reason["code"])


@pytest.mark.parametrize("is_announced", [True, False])
def test_upload_in_parts_is_imported(
    settings: Settings,
    session: Session,
    sessions: SessionFactory,
    storage: Storage,
    tmp_path: Path,
    archive: bytes,
    is_announced: bool,
) -> None:
    expected = sha256(archive) if is_announced else None
    state = make_from_upload(session, storage, archive, expected=expected)

    run_import(settings, sessions, tmp_path)

    dataset, run = read(sessions, state)
    assert (run.status, dataset.num_samples) == ("succeeded", 12)
    assert (dataset.sha256, dataset.archive_size_bytes) == (sha256(archive), len(archive))
    assert read_upload(sessions, dataset).sha256 == sha256(archive)


def read_upload(sessions: SessionFactory, dataset: Dataset) -> Upload:
    with sessions() as session:
        return session.get_one(Upload, dataset.upload_id)


def test_upload_with_another_sum_than_announced_fails_and_goes(
    settings: Settings, session: Session, sessions: SessionFactory, storage: Storage, tmp_path: Path, archive: bytes
) -> None:
    state = make_from_upload(session, storage, archive, expected=sha256(b"other"))

    run_import(settings, sessions, tmp_path)

    dataset, run = read(sessions, state)
    assert read_code(run) == "upload_sha256_mismatch"
    assert run.status_reason is not None
    assert sha256(archive) in run.status_reason["message"]
    assert run.status_reason["owner"] == "data"
    with sessions() as other:
        assert upload_prefix(dataset.upload_id) in other.scalars(select(Deletion.prefix)).all()


def test_damage_after_the_first_reading_is_not_the_users(
    settings: Settings, session: Session, sessions: SessionFactory, storage: Storage, tmp_path: Path, archive: bytes
) -> None:
    """Its SHA-256 was computed by an attempt before."""
    state = make_from_upload(session, storage, archive, expected=sha256(b"other"))
    session.get_one(Upload, state.dataset.upload_id).sha256 = sha256(b"as it was")
    session.commit()

    run_import(settings, sessions, tmp_path)

    assert read(sessions, state)[1].failures == {"crash": 1}


def test_object_of_a_listed_bucket_is_imported(
    settings: Settings,
    session: Session,
    sessions: SessionFactory,
    storage: Storage,
    lake: Storage,
    tmp_path: Path,
    archive: bytes,
) -> None:
    lake.put_bytes("sets/cells.zip", archive)
    state = make_from_url(session, "s3://lake/sets/cells.zip")

    run_import(settings.model_copy(update={"s3_import_buckets": ("lake",)}), sessions, tmp_path)

    dataset, run = read(sessions, state)
    assert (run.status, dataset.num_samples) == ("succeeded", 12)
    assert (dataset.sha256, dataset.archive_size_bytes) == (sha256(archive), len(archive))
    assert lake.exists("sets/cells.zip")


@pytest.mark.parametrize(
    ("url", "listed", "code"),
    [
        ("s3://lake/large.zip", ("lake",), "url_too_large"),
        ("s3://lake/nothing.zip", ("lake",), "s3_object_missing"),
        ("s3://lake/large.zip", (), "url_not_allowed"),  # as when the list was shortened meanwhile
    ],
)
def test_object_that_is_not_imported_is_said(
    settings: Settings,
    session: Session,
    sessions: SessionFactory,
    lake: Storage,
    tmp_path: Path,
    url: str,
    listed: tuple[str, ...],
    code: str,
) -> None:
    lake.put_bytes("large.zip", b"PK\x03\x04" + b"x" * 1000)
    state = make_from_url(session, url)

    run_import(settings.model_copy(update={"s3_import_buckets": listed, "max_archive_bytes": 1000}), sessions, tmp_path)

    assert read_code(read(sessions, state)[1]) == code


def test_progress_is_shown_while_it_is_imported(
    settings: Settings,
    session: Session,
    sessions: SessionFactory,
    storage: Storage,
    tmp_path: Path,
    archive: bytes,
) -> None:
    state = make_from_upload(session, storage, archive, expected=None)
    often = settings.model_copy(update={"heartbeat_seconds": 0.01})
    thread = threading.Thread(target=run_import, args=(often, sessions, tmp_path))
    seen: dict[str, float] = {}

    thread.start()
    while thread.is_alive():
        progress = read(sessions, state)[1].progress
        if progress is not None:
            seen.setdefault(progress["stage"], progress["percent"])
    thread.join()

    assert {"copying", "reading"} <= set(seen)
    assert list(seen.values()) == sorted(seen.values())
