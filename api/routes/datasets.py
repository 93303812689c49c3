"""Datasets: in as a file, an upload or a URL, ready by an import run."""

from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.deps import NameFilter, PageDep, PrincipalDep, ServicesDep, SessionDep
from api.idempotency import REPLAYED, KeyHeader, create_once, created, identify
from api.query import MetadataFilterDep
from api.schemas.common import ListOf, Problem
from api.schemas.datasets import (
    DatasetFromUpload,
    DatasetFromUrl,
    DatasetOut,
    DatasetStatus,
    find_run_statuses,
    render_dataset,
)
from api.schemas.lists import render_list
from api.services import Services
from api.uploads import ReceivedFile, abandon, receive_file
from core import datasets, idempotency
from core.datasets import DatasetFilter, DatasetState
from core.errors import BituneError, UnsupportedMediaError
from core.idempotency import Answer
from core.ingest.sources import check_source
from core.keys import Principal

router = APIRouter(prefix="/datasets", tags=["datasets"])
DatasetId = Annotated[str, Path(max_length=64)]
FIELDS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])  # JSON, checked by the schema that it fits

CREATE_BODY: dict[str, Any] = {  # OpenAPI by hand: the route streams its body
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/DatasetFromUrl"},
                        {"$ref": "#/components/schemas/DatasetFromUpload"},
                    ]
                },
                "example": {"name": "cells", "url": "https://example.com/cells.zip"},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "name"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "zip, tar, tar.gz or tar.zst"},
                        "name": {"type": "string"},
                        "test_fraction": {"type": "number", "default": 0.2},
                    },
                }
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    response_model=DatasetOut,
    openapi_extra=CREATE_BODY,
    responses={status: {"model": Problem} for status in (409, 413, 415, 422)},
)
async def create_dataset(
    request: Request, services: ServicesDep, principal: PrincipalDep, key: KeyHeader = None
) -> Response:
    """Takes a form (`file`, `name`), or JSON (`name`, `url` or `upload_id`); poll the dataset until it is `ready`."""
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        begun = None if key is None else identify(request, principal.project_id, key, b"")
        received = await receive_file(request, services, principal.project_id, begun)
        once = None if key is None else identify(request, principal.project_id, key, received.identity())
        return await run_in_threadpool(_create_from_file, services, principal, received, once)
    if content_type.startswith("application/json"):
        raw = await request.body()
        once = None if key is None else identify(request, principal.project_id, key, raw)
        return await run_in_threadpool(_create_from_json, services, principal, _parse_json_body(raw), once)
    raise UnsupportedMediaError(
        "unsupported_body", "the body is neither a form nor JSON", hint="send multipart/form-data or JSON"
    )


@router.get("")
def list_datasets(
    session: SessionDep,
    principal: PrincipalDep,
    page: PageDep,
    metadata: MetadataFilterDep,
    status: DatasetStatus | None = None,
    name: NameFilter = None,
) -> ListOf[DatasetOut]:
    """The newest first; `metadata[team]=pv` lists what carries this label."""
    statuses = None if status is None else find_run_statuses(status)
    wanted = DatasetFilter(statuses=statuses, name=name, metadata=metadata)
    found = datasets.list_datasets(session, principal.project_id, page, wanted)
    return render_list([render_dataset(state) for state in found.rows], has_more=found.has_more)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: DatasetId, session: SessionDep, principal: PrincipalDep) -> DatasetOut:
    return render_dataset(datasets.get_dataset(session, principal.project_id, dataset_id))


@router.delete("/{dataset_id}", status_code=204, responses={409: {"model": Problem}})
def delete_dataset(dataset_id: DatasetId, session: SessionDep, principal: PrincipalDep) -> Response:
    datasets.delete_dataset(session, principal.project_id, dataset_id)
    return Response(status_code=204)


def _parse_json_body(raw: bytes) -> DatasetFromUrl | DatasetFromUpload:
    try:
        fields = FIELDS.validate_json(raw)
        return (DatasetFromUpload if "upload_id" in fields else DatasetFromUrl).model_validate(fields)
    except ValidationError as exc:
        errors = [error | {"loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise RequestValidationError(errors) from exc


def _create_from_json(
    services: Services,
    principal: Principal,
    body: DatasetFromUrl | DatasetFromUpload,
    once: idempotency.Request | None,
) -> Response:
    match body:
        case DatasetFromUrl():
            return _create_from_url(services, principal, body, once)
        case DatasetFromUpload():
            return _create_from_upload(
                services,
                principal,
                once,
                upload_id=body.upload_id,
                name=body.name,
                test_fraction=body.test_fraction,
                metadata=body.metadata,
            )
        case _:
            assert_never(body)


def _create_from_url(
    services: Services, principal: Principal, body: DatasetFromUrl, once: idempotency.Request | None
) -> Response:
    check_source(body.url, services.settings)

    def create(session: Session) -> Answer:
        state = datasets.create_dataset_from_url(
            session,
            project_id=principal.project_id,
            name=body.name,
            url=body.url,
            test_fraction=body.test_fraction,
            metadata=body.metadata,
            quotas=services.quotas,
        )
        return _answer(state)

    return create_once(services, once, create)


def _create_from_file(
    services: Services, principal: Principal, received: ReceivedFile, once: idempotency.Request | None
) -> Response:
    """What was received for nothing goes."""
    try:
        response = _create_from_upload(
            services,
            principal,
            once,
            upload_id=received.upload_id,
            name=received.form.name,
            test_fraction=received.form.test_fraction,
            metadata={},
        )
    except BituneError:
        abandon(services, received.upload_id)
        raise
    if REPLAYED in response.headers:
        abandon(services, received.upload_id)
    return response


def _create_from_upload(
    services: Services,
    principal: Principal,
    once: idempotency.Request | None,
    *,
    upload_id: str,
    name: str,
    test_fraction: float,
    metadata: datasets.Metadata,
) -> Response:
    def create(session: Session) -> Answer:
        state = datasets.create_dataset_from_upload(
            session,
            project_id=principal.project_id,
            upload_id=upload_id,
            name=name,
            test_fraction=test_fraction,
            metadata=metadata,
            quotas=services.quotas,
        )
        return _answer(state)

    return create_once(services, once, create)


def _answer(state: DatasetState) -> Answer:
    return created(render_dataset(state), status_code=202, location=f"/datasets/{state.dataset.id}")
