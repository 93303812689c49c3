"""Receives the file of a multipart form: straight into the store, with one part of it in memory."""

from typing import NamedTuple

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from api.forms import PartBytes, PartEnded, PartStarted, read_form
from api.schemas.datasets import DatasetForm
from api.services import Services
from core import idempotency, uploads
from core.errors import InvalidInputError, UnsupportedMediaError
from core.ingest.archives import looks_like_archive
from core.quotas import charge_bytes, charge_dataset, charge_upload
from core.storage_errors import StorageUnavailableError
from core.storage_uploads import StoredObject, StreamedUpload

MAX_FIELD_BYTES = 10_000
HEAD_BYTES = 512


class ReceivedFile(NamedTuple):
    """A stored and completed upload with the fields that came beside it."""

    upload_id: str
    form: DatasetForm
    sha256: str

    def identity(self) -> bytes:
        """Equal for equal forms with equal files."""
        return f"{self.sha256} {self.form.model_dump_json()}".encode()


class _Started(NamedTuple):
    upload_id: str
    storage_key: str
    is_retry: bool  # of a request that created its dataset: what it brings does not stay, and is not charged


async def receive_file(
    request: Request, services: Services, project_id: str, once: idempotency.Request | None
) -> ReceivedFile:
    """Whatever goes wrong, nothing of the upload stays behind. Of `once`, all but the body is known."""
    expected_bytes = int(request.headers.get("content-length", "0"))  # the gate has seen that it is a number
    started = await run_in_threadpool(_start, services, project_id, expected_bytes, once)
    upload_id, key = started.upload_id, started.storage_key
    upload = services.storage.open_upload(key)
    try:
        form = _validate(await _Receiver(upload).receive(request))
        await run_in_threadpool(upload.finish)
        await run_in_threadpool(_complete, services, project_id, started, upload.stored)
    except StorageUnavailableError:  # to abort would wait for the store once more; the deletion of the row does it
        await run_in_threadpool(abandon, services, upload_id)
        raise
    except BaseException:
        await run_in_threadpool(abandon, services, upload_id)
        await run_in_threadpool(upload.abort)
        raise
    return ReceivedFile(upload_id=upload_id, form=form, sha256=upload.stored.sha256)


class _Receiver:
    """Sends the part `file` to the upload and keeps the others as fields."""

    def __init__(self, upload: StreamedUpload) -> None:
        self._upload = upload
        self._head = bytearray()
        self._fields: dict[str, bytearray] = {}

    async def receive(self, request: Request) -> dict[str, str]:
        name = ""
        async for event in read_form(request):
            match event:
                case PartStarted():
                    name = event.name
                case PartBytes() if name == "file":
                    await self._add_to_file(event.content)
                case PartBytes():
                    self._add_to_field(name, event.content)
                case PartEnded():
                    pass
        self._check_head()
        return {name: value.decode(errors="replace") for name, value in self._fields.items()}

    async def _add_to_file(self, content: bytes) -> None:
        if len(self._head) < HEAD_BYTES:
            self._head += content[: HEAD_BYTES - len(self._head)]
            if len(self._head) == HEAD_BYTES:
                self._check_head()
        await run_in_threadpool(self._upload.write, content)

    def _add_to_field(self, name: str, content: bytes) -> None:
        value = self._fields.setdefault(name, bytearray())
        value += content
        if len(value) > MAX_FIELD_BYTES or len(self._fields) > len(DatasetForm.model_fields) + 1:
            raise InvalidInputError("invalid_form", "the form has too many or too long fields", param=name)

    def _check_head(self) -> None:
        if not self._head:
            raise InvalidInputError("file_required", "the form has no `file`", hint="send the archive as `file`")
        if not looks_like_archive(bytes(self._head)):
            raise UnsupportedMediaError(
                "not_an_archive",
                "the file is no archive",
                hint="send a zip, tar, tar.gz or tar.zst with a folder per class",
            )


def _validate(fields: dict[str, str]) -> DatasetForm:
    try:
        return DatasetForm.model_validate(fields)
    except ValidationError as exc:
        errors = [error | {"loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise RequestValidationError(errors) from exc


def _start(services: Services, project_id: str, expected_bytes: int, once: idempotency.Request | None) -> _Started:
    """Refuses before the bytes come what would be refused after them."""
    with services.transaction() as session:
        is_retry = idempotency.is_settled(session, once)
        if not is_retry:
            charge_dataset(session, project_id, services.quotas)
        charge_upload(session, project_id, services.quotas, size_bytes=None if is_retry else expected_bytes)
        upload = uploads.start_upload(
            session,
            project_id=project_id,
            filename="archive",
            lifetime_hours=services.settings.upload_lifetime_hours,
        )
        return _Started(upload.id, upload.storage_key, is_retry)


def _complete(services: Services, project_id: str, started: _Started, stored: StoredObject) -> None:
    with services.transaction() as session:
        if not started.is_retry:
            charge_bytes(session, project_id, services.quotas, size_bytes=stored.size_bytes)
        uploads.complete_upload(session, started.upload_id, stored)


def abandon(services: Services, upload_id: str) -> None:
    with services.transaction() as session:
        uploads.abandon_upload(session, upload_id)
