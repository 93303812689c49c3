"""Uploads in parts: the client sends them straight to the store, and goes on where it broke off."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response
from sqlalchemy.orm import Session

from api.deps import PrincipalDep, ServicesDep, SessionDep
from api.idempotency import REPLAYED, OnceDep, create_once
from api.schemas.common import Problem
from api.schemas.uploads import UploadCreate, UploadOut, render_upload
from api.services import Services
from api.uploads import abandon
from core import idempotency, uploads
from core.db.tables import Upload
from core.errors import BituneError, ConflictError, NotFoundError
from core.idempotency import Answer
from core.ids import make_id
from core.keys import Principal
from core.quotas import charge_upload
from core.storage import Storage
from core.upload_parts import UploadPart, assemble, choose_part_bytes, list_parts, open_client_upload, plan_parts

PART_URL_SECONDS = 3600  # a part of many mebibytes on a slow line; `GET` signs again

router = APIRouter(prefix="/uploads", tags=["uploads"])
UploadId = Annotated[str, Path(max_length=64)]


@router.post("", status_code=201, responses={409: {"model": Problem}, 413: {"model": Problem}})
def create_upload(
    body: UploadCreate, response: Response, services: ServicesDep, principal: PrincipalDep, once: OnceDep
) -> UploadOut:
    """Opens an upload; send its parts, complete it, and make a dataset with its id before it expires."""
    uploads.check_size(body.size_bytes, max_bytes=services.settings.max_archive_bytes)
    answer = _start(services, principal, body, once)
    response.headers.update({name: answer.headers[name] for name in ("Location", REPLAYED) if name in answer.headers})
    upload = _find_created(services, principal, json.loads(bytes(answer.body))["id"])
    if REPLAYED in answer.headers:
        return _render(response, services.storage, upload)
    return _render_pending(response, services.storage, upload, plan_parts(upload))


@router.get("/{upload_id}", responses={409: {"model": Problem}})
def get_upload(upload_id: UploadId, response: Response, services: ServicesDep, principal: PrincipalDep) -> UploadOut:
    """Which parts the store has received, and fresh URLs for the others."""
    with services.transaction() as session:
        upload = uploads.get_client_upload(session, principal.project_id, upload_id)
    return _render(response, services.storage, upload)


@router.post("/{upload_id}/complete", responses={409: {"model": Problem}})
def complete_upload(upload_id: UploadId, services: ServicesDep, principal: PrincipalDep) -> UploadOut:
    """Makes the archive of the parts; once more is fine. Then `POST /datasets` with `upload_id`."""
    with services.transaction() as session:
        upload = uploads.get_client_upload(session, principal.project_id, upload_id)
    if upload.completed_at is None:
        assemble(services.storage, upload)
        with services.transaction() as session:
            upload = uploads.complete_client_upload(session, principal.project_id, upload_id)
    return render_upload(upload)


@router.delete("/{upload_id}", status_code=204, responses={409: {"model": Problem}})
def delete_upload(upload_id: UploadId, session: SessionDep, principal: PrincipalDep) -> Response:
    """Aborts it, whether completed or not; what was sent is gone within minutes."""
    uploads.cancel_upload(session, principal.project_id, upload_id)
    return Response(status_code=204)


def _find_created(services: Services, principal: Principal, upload_id: str) -> Upload:
    try:
        with services.transaction() as session:
            return uploads.get_client_upload(session, principal.project_id, upload_id)
    except NotFoundError as exc:
        raise ConflictError(
            "upload_ended",
            f"this Idempotency-Key opened the upload '{upload_id}', which was aborted or has expired",
            hint="take a new key",
            param="Idempotency-Key",
        ) from exc


def _start(services: Services, principal: Principal, body: UploadCreate, once: idempotency.Request | None) -> Response:
    """An answer that is kept has the id alone: the URLs are as good as keys. What was opened for nothing goes."""
    with services.transaction() as session:
        if not idempotency.is_settled(session, once):  # asked before the store is: refusals cost it nothing
            charge_upload(session, principal.project_id, services.quotas, size_bytes=body.size_bytes)
    upload_id = make_id("upload")
    multipart_id = services.storage.start_client_upload(uploads.make_upload_key(upload_id))

    def create(session: Session) -> Answer:
        charge_upload(session, principal.project_id, services.quotas, size_bytes=body.size_bytes)
        uploads.start_client_upload(
            session,
            project_id=principal.project_id,
            upload_id=upload_id,
            filename=body.filename,
            size_bytes=body.size_bytes,
            sha256=body.sha256,
            multipart_id=multipart_id,
            part_bytes=choose_part_bytes(body.size_bytes, at_least=services.settings.upload_part_bytes),
            lifetime_hours=services.settings.upload_lifetime_hours,
        )
        return Answer(status_code=201, location=f"/uploads/{upload_id}", body={"id": upload_id})

    try:
        answer = create_once(services, once, create)
    except BituneError:
        abandon(services, upload_id)
        raise
    if REPLAYED in answer.headers:
        abandon(services, upload_id)
    return answer


def _render(response: Response, storage: Storage, upload: Upload) -> UploadOut:
    if upload.completed_at is not None:
        return render_upload(upload)
    return _render_pending(response, storage, upload, list_parts(storage, upload))


def _render_pending(response: Response, storage: Storage, upload: Upload, parts: list[UploadPart]) -> UploadOut:
    """With URLs that are as good as keys: no cache may keep them."""
    response.headers["Cache-Control"] = "no-store"
    client_upload = open_client_upload(storage, upload)
    until = datetime.now(UTC) + timedelta(seconds=PART_URL_SECONDS)
    urls = {
        part.number: client_upload.presign_part(
            part.number, size_bytes=part.size_bytes, expires_seconds=PART_URL_SECONDS
        )
        for part in parts
        if not part.is_received
    }
    return render_upload(upload, parts, urls, until=until)
