"""The parts of an upload that a client sends by itself: which there are, which have come, and the archive they make."""

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
    received: ReceivedPart | None


def choose_part_bytes(size_bytes: int, *, at_least: int) -> int:
    """Whole mebibytes, and at most MAX_PARTS of them."""
    needed = -(-size_bytes // MAX_PARTS)
    return max(at_least, -(-needed // MEBIBYTE) * MEBIBYTE)


def plan_parts(upload: Upload) -> list[UploadPart]:
    if upload.size_bytes is None or upload.part_bytes is None:
        raise ValueError(f"{upload.id} has no parts")
    size_bytes, part_bytes = upload.size_bytes, upload.part_bytes
    starts = range(0, size_bytes, part_bytes)
    return [
        UploadPart(number, min(part_bytes, size_bytes - start), None) for number, start in enumerate(starts, start=1)
    ]


def list_parts(storage: Storage, upload: Upload) -> list[UploadPart]:
    """As the store says it. Raises ConflictError when it has lost them."""
    try:
        received = open_client_upload(storage, upload).list_parts()
    except UploadGoneError as exc:
        raise ConflictError(
            "upload_lost", "the store no longer has the parts of this upload", hint="delete it, and start another"
        ) from exc
    return [_match(part, received.get(part.number)) for part in plan_parts(upload)]


def is_assembled(storage: Storage, upload: Upload) -> bool:
    """Also after a try to complete it whose answer was lost."""
    return storage.find_size_bytes(upload.storage_key) == upload.size_bytes


def assemble(storage: Storage, upload: Upload) -> None:
    """Makes one object of the parts; once more is fine. Raises ConflictError while parts are missing."""
    if is_assembled(storage, upload):
        return
    parts = list_parts(storage, upload)
    missing = [part.number for part in parts if part.received is None]
    if missing:
        raise _incomplete(missing)
    try:
        open_client_upload(storage, upload).finish([part.received for part in parts if part.received is not None])
    except UploadGoneError:  # somebody else was faster, or the answer of an earlier try was lost
        if not is_assembled(storage, upload):
            raise
    if not is_assembled(storage, upload):
        raise ConflictError(
            "upload_size_wrong", "the store did not make what was announced", hint="delete it, and start another"
        )


def open_client_upload(storage: Storage, upload: Upload) -> ClientUpload:
    if upload.multipart_id is None:
        raise ValueError(f"{upload.id} has no parts")
    return storage.client_upload(upload.storage_key, upload.multipart_id)


def _match(part: UploadPart, received: ReceivedPart | None) -> UploadPart:
    """One of another size has to be sent again."""
    if received is None or received.size_bytes != part.size_bytes:
        return part
    return part._replace(received=received)


def _incomplete(missing: list[int]) -> ConflictError:
    numbers = ", ".join(map(str, missing[:NAMED_PARTS])) + (", …" if len(missing) > NAMED_PARTS else "")
    return ConflictError(
        "upload_incomplete",
        f"{len(missing)} parts are missing: {numbers}",
        hint="`GET` the upload: it has URLs for them",
    )
