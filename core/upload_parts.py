"""The parts of an upload that a client sends by itself: which there are, which have come, and the archive they make."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from core.db.tables import Upload
from core.errors import ConflictError
from core.storage import ClientUpload, Storage
from core.storage_errors import UploadGoneError
from core.storage_parts import ReceivedPart

MAX_PARTS = 128  # their URLs are signed for each answer
MEBIBYTE = 1024**2
NAMED_PARTS = 10


class UploadPart(NamedTuple):
    number: int
    size_bytes: int
    is_received: bool = False


def choose_part_bytes(size_bytes: int, *, at_least: int) -> int:
    """Whole mebibytes, and at most MAX_PARTS of them."""
    needed = -(-size_bytes // MAX_PARTS)
    return max(at_least, -(-needed // MEBIBYTE) * MEBIBYTE)


def plan_parts(upload: Upload) -> list[UploadPart]:
    if upload.size_bytes is None or upload.part_bytes is None:
        raise ValueError(f"{upload.id} has no parts")
    size_bytes, part_bytes = upload.size_bytes, upload.part_bytes
    starts = range(0, size_bytes, part_bytes)
    return [UploadPart(number, min(part_bytes, size_bytes - start)) for number, start in enumerate(starts, start=1)]


def list_parts(storage: Storage, upload: Upload) -> list[UploadPart]:
    """As the store says it; one of another size has to be sent again. Raises ConflictError when it has lost them."""
    parts = plan_parts(upload)
    try:
        with _translated():
            received = open_client_upload(storage, upload).list_parts()
    except ConflictError:
        if not is_assembled(storage, upload):
            raise
        return [part._replace(is_received=True) for part in parts]
    return [part._replace(is_received=_is_received(part, received)) for part in parts]


def assemble(storage: Storage, upload: Upload) -> None:
    """Makes one object of the parts; once more is fine. Raises ConflictError while parts are missing."""
    try:
        with _translated():
            _finish(open_client_upload(storage, upload), plan_parts(upload))
    except ConflictError:  # somebody else may have been faster, or the answer of an earlier try was lost
        if not is_assembled(storage, upload):
            raise
    else:
        if not is_assembled(storage, upload):
            raise ConflictError(
                "upload_size_wrong", "the store did not make what was announced", hint="delete it, and start another"
            )


def is_assembled(storage: Storage, upload: Upload) -> bool:
    return storage.find_size_bytes(upload.storage_key) == upload.size_bytes


def open_client_upload(storage: Storage, upload: Upload) -> ClientUpload:
    if upload.multipart_id is None:
        raise ValueError(f"{upload.id} has no parts")
    return storage.client_upload(upload.storage_key, upload.multipart_id)


def _finish(client_upload: ClientUpload, parts: list[UploadPart]) -> None:
    received = client_upload.list_parts()
    missing = [part.number for part in parts if not _is_received(part, received)]
    if missing:
        raise _incomplete(missing)
    client_upload.finish([received[part.number] for part in parts])


def _is_received(part: UploadPart, received: Mapping[int, ReceivedPart]) -> bool:
    return part.number in received and received[part.number].size_bytes == part.size_bytes


def _incomplete(missing: list[int]) -> ConflictError:
    numbers = ", ".join(map(str, missing[:NAMED_PARTS])) + (", …" if len(missing) > NAMED_PARTS else "")
    return ConflictError(
        "upload_incomplete",
        f"{len(missing)} parts are missing: {numbers}",
        hint="`GET` the upload: it has URLs for them",
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except UploadGoneError as exc:
        raise ConflictError(
            "upload_lost", "the store no longer has the parts of this upload", hint="delete it, and start another"
        ) from exc
