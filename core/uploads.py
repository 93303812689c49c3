"""Use cases of uploads: bytes on their way in, until a dataset takes them or they expire."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.orm import Session

from core import deletions
from core.db.tables import Dataset, Upload
from core.errors import ConflictError, NotFoundError, TooLargeError
from core.ids import make_id
from core.storage import StoredObject
from core.storage_keys import upload_prefix

EXPIRE_AT_ONCE = 100


def make_upload_key(upload_id: str) -> str:
    return upload_prefix(upload_id) + "archive"


def start_upload(session: Session, *, project_id: str, filename: str, lifetime_hours: float | None) -> Upload:
    """For bytes that we store ourselves; one without a lifetime is made for a dataset, and goes with it."""
    upload_id = make_id("upload")
    upload = Upload(id=upload_id, project_id=project_id, filename=filename, storage_key=make_upload_key(upload_id))
    return _add(session, upload, lifetime_hours)


def start_client_upload(
    session: Session,
    *,
    project_id: str,
    upload_id: str,
    filename: str,
    size_bytes: int,
    sha256: str | None,
    multipart_id: str,
    part_bytes: int,
    lifetime_hours: float,
) -> Upload:
    """For bytes that the client sends to the store, which has opened `multipart_id` for them."""
    upload = Upload(
        id=upload_id,
        project_id=project_id,
        filename=filename,
        storage_key=make_upload_key(upload_id),
        multipart_id=multipart_id,
        part_bytes=part_bytes,
        size_bytes=size_bytes,
        expected_sha256=sha256,
    )
    return _add(session, upload, lifetime_hours)


def check_size(size_bytes: int, *, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise TooLargeError(
            "upload_too_large",
            f"an upload may have at most {max_bytes} bytes",
            hint="split the dataset; the operator sets BITUNE_MAX_ARCHIVE_BYTES",
            param="size_bytes",
        )


def get_client_upload(session: Session, project_id: str, upload_id: str) -> Upload:
    upload = session.scalar(
        select(Upload).where(*_visible(project_id, upload_id), Upload.multipart_id.is_not(None)),
        execution_options={"populate_existing": True},
    )
    if upload is None:
        raise _not_found(upload_id)
    return upload


def complete_upload(session: Session, upload_id: str, stored: StoredObject) -> None:
    """All its bytes are in the store, and their SHA-256 is known. Raises NotFoundError where it was aborted."""
    upload = session.get(Upload, upload_id)
    if upload is None:
        raise _not_found(upload_id)
    upload.size_bytes = stored.size_bytes
    upload.sha256 = stored.sha256
    _mark_completed(session, upload)


def complete_client_upload(session: Session, project_id: str, upload_id: str) -> Upload:
    """All its bytes are in the store; the import computes their SHA-256."""
    upload = _lock(session, project_id, upload_id)
    if upload.completed_at is None:
        _mark_completed(session, upload)
    return upload


def take_upload(session: Session, project_id: str, upload_id: str) -> Upload:
    """For the one dataset that is made of it."""
    upload = _lock(session, project_id, upload_id)
    if upload.completed_at is None:
        raise ConflictError(
            "upload_incomplete",
            "the upload is not complete",
            hint="send its parts, then `POST /uploads/{id}/complete`",
            param="upload_id",
        )
    _refuse_taken(session, upload)
    upload.expires_at = None
    return upload


def cancel_upload(session: Session, project_id: str, upload_id: str) -> None:
    upload = _lock(session, project_id, upload_id)
    _refuse_taken(session, upload)
    _delete(session, [upload.id])


def abandon_upload(session: Session, upload_id: str) -> None:
    """Called when the body broke off or was refused: the row goes now, its bytes soon."""
    _delete(session, [upload_id])


def expire_uploads(session: Session) -> list[str]:
    """Deletes some of those that became no dataset in time; a worker calls it until there are none.

    One that is being taken this moment is left to that transaction, which clears its `expires_at`.
    """
    ids = session.scalars(
        select(Upload.id)
        .where(Upload.expires_at <= func.clock_timestamp(), ~_has_dataset())
        .limit(EXPIRE_AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()
    _delete(session, ids)
    return list(ids)


def _add(session: Session, upload: Upload, lifetime_hours: float | None) -> Upload:
    if lifetime_hours is not None:
        upload.expires_at = session.scalars(select(func.clock_timestamp())).one() + timedelta(hours=lifetime_hours)
    session.add(upload)
    session.flush()
    return upload


def _lock(session: Session, project_id: str, upload_id: str) -> Upload:
    upload = session.scalar(
        select(Upload).where(*_visible(project_id, upload_id)).with_for_update(),
        execution_options={"populate_existing": True},
    )
    if upload is None:
        raise _not_found(upload_id)
    return upload


def _visible(project_id: str, upload_id: str) -> tuple[ColumnElement[bool], ...]:
    alive = or_(Upload.expires_at.is_(None), Upload.expires_at > func.clock_timestamp())
    return Upload.project_id == project_id, Upload.id == upload_id, alive


def _has_dataset() -> ColumnElement[bool]:
    return select(Dataset.id).where(Dataset.upload_id == Upload.id).exists()


def _not_found(upload_id: str) -> NotFoundError:
    return NotFoundError(
        "upload_not_found",
        f"there is no upload '{upload_id}'",
        hint="an upload that became no dataset expires: start another",
        param="upload_id",
    )


def _refuse_taken(session: Session, upload: Upload) -> None:
    dataset_id = session.scalar(select(Dataset.id).where(Dataset.upload_id == upload.id))
    if dataset_id is not None:
        raise ConflictError(
            "upload_taken", f"the dataset '{dataset_id}' was made of it", hint="use the dataset", param="upload_id"
        )


def _mark_completed(session: Session, upload: Upload) -> None:
    upload.completed_at = session.scalar(select(func.clock_timestamp()))


def _delete(session: Session, upload_ids: Sequence[str]) -> None:
    """Rows now, their objects and parts soon."""
    session.execute(delete(Upload).where(Upload.id.in_(upload_ids)))
    for upload_id in upload_ids:
        deletions.schedule(session, upload_prefix(upload_id))
