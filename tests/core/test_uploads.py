import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core import uploads
from core.datasets import create_dataset_from_upload
from core.db.session import SessionFactory
from core.db.tables import Dataset, Deletion, Upload
from core.errors import ConflictError, NotFoundError
from core.storage import StoredObject
from core.storage_keys import upload_prefix
from tests.conditions import wait_until
from tests.factories import make_project


def make_upload(session: Session, *, lifetime_hours: float = 1) -> Upload:
    """Completed."""
    upload = uploads.start_upload(
        session, project_id=make_project(session), filename="a.zip", lifetime_hours=lifetime_hours
    )
    uploads.complete_upload(session, upload.id, StoredObject(size_bytes=5, sha256="a" * 64))
    session.commit()
    return upload


def make_dataset(session: Session, upload: Upload) -> Dataset:
    state = create_dataset_from_upload(
        session, project_id=upload.project_id, name="cells", upload_id=upload.id, test_fraction=0.2, metadata={}
    )
    return state.dataset


def expire_all(session: Session) -> None:
    for upload in session.scalars(select(Upload).where(Upload.expires_at.is_not(None))):
        assert upload.expires_at is not None
        upload.expires_at -= timedelta(days=1)
    session.commit()


def test_expired_uploads_go_and_the_others_stay(session: Session) -> None:
    expired = [make_upload(session, lifetime_hours=0).id for _ in range(3)]
    kept = make_upload(session)

    assert sorted(uploads.expire_uploads(session)) == sorted(expired)

    assert uploads.expire_uploads(session) == []
    assert session.scalars(select(Upload.id)).all() == [kept.id]
    assert set(session.scalars(select(Deletion.prefix))) == set(map(upload_prefix, expired))


def test_many_expired_uploads_go_in_rounds(session: Session) -> None:
    project_id = make_project(session)
    for _ in range(uploads.EXPIRE_AT_ONCE + 1):
        uploads.start_upload(session, project_id=project_id, filename="a", lifetime_hours=0)

    assert [len(uploads.expire_uploads(session)) for _ in range(3)] == [uploads.EXPIRE_AT_ONCE, 1, 0]


def test_dataset_knows_the_archive_that_we_stored(session: Session) -> None:
    dataset = make_dataset(session, make_upload(session))

    assert (dataset.archive_size_bytes, dataset.sha256) == (5, "a" * 64)


def test_upload_of_a_dataset_never_expires(session: Session) -> None:
    upload = make_upload(session)
    make_dataset(session, upload)
    expire_all(session)

    assert uploads.expire_uploads(session) == []


def test_upload_of_a_dataset_stays_whatever_its_row_says(session: Session) -> None:
    upload = make_upload(session)
    make_dataset(session, upload)
    upload.expires_at = datetime.now(UTC) - timedelta(hours=1)
    session.flush()

    assert uploads.expire_uploads(session) == []


def test_upload_that_is_being_taken_does_not_expire(session: Session, sessions: SessionFactory) -> None:
    """The transaction that takes it began before its time and commits after it."""
    upload_id = make_upload(session, lifetime_hours=0).id
    with sessions() as taking, sessions() as expiring:
        taking.get_one(Upload, upload_id, with_for_update=True).expires_at = None
        taking.flush()
        assert uploads.expire_uploads(expiring) == []
        taking.commit()
        assert uploads.expire_uploads(expiring) == []
        expiring.commit()

    session.expire_all()
    assert session.scalars(select(Upload.id)).all() == [upload_id]


def count_datasets(sessions: SessionFactory) -> int:
    with sessions() as session:
        return len(session.scalars(select(Dataset.id)).all())


def test_upload_makes_one_dataset_however_many_ask_at_once(session: Session, sessions: SessionFactory) -> None:
    upload = make_upload(session)
    ends: list[str] = []

    def take() -> None:
        try:
            with sessions.begin() as other:
                make_dataset(other, upload)
            ends.append("made")
        except ConflictError as exc:
            ends.append(exc.code)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(ends) == len(threads), seconds=10)

    assert sorted(ends) == ["made"] + ["upload_taken"] * 5
    assert count_datasets(sessions) == 1


def test_upload_of_another_project_is_not_taken(session: Session) -> None:
    upload = make_upload(session)

    with pytest.raises(NotFoundError):
        uploads.take_upload(session, make_project(session), upload.id)
