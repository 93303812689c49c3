"""Datasets: in as a file, an upload or a URL, ready by an import run."""

from typing import Annotated, Any, assert_never

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from api.deps import PageDep, PrincipalDep, ServicesDep, SessionDep
from api.schemas.common import ListOf, Problem
from api.schemas.datasets import DatasetFromUpload, DatasetFromUrl, DatasetOut, render_dataset
from api.schemas.lists import render_list
from api.services import Services
from api.uploads import ReceivedFile, receive_file
from core import datasets
from core.errors import UnsupportedMediaError
from core.ingest.sources import check_source
from core.keys import Principal
from core.storage_errors import ObjectMissingError
from core.storage_keys import dataset_attempt_prefix

router = APIRouter(prefix="/datasets", tags=["datasets"])
DatasetId = Annotated[str, Path(max_length=64)]
FIELDS: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])  # JSON, checked by the schema that it fits

CREATE_BODY: dict[str, Any] = {  # OpenAPI by hand: the route streams its body
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [DatasetFromUrl.model_json_schema(), DatasetFromUpload.model_json_schema()]},
                "example": {"name": "cells", "url": "https://example.com/cells.zip"},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "name"],
                    "properties": {
                        "file": {"type": "string", "format": "binary", "description": "zip, tar or tar.gz"},
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
    request: Request, response: Response, services: ServicesDep, principal: PrincipalDep
) -> DatasetOut:
    """Takes a form (`file`, `name`), or JSON (`name`, `url` or `upload_id`); poll the dataset until it is `ready`."""
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        received = await receive_file(request, services, principal.project_id)
        created = await run_in_threadpool(_create_from_file, services, principal, received)
    elif content_type.startswith("application/json"):
        body = _parse_json_body(await request.body())
        created = await run_in_threadpool(_create_from_json, services, principal, body)
    else:
        raise UnsupportedMediaError(
            "unsupported_body", "the body is neither a form nor JSON", hint="send multipart/form-data or JSON"
        )
    response.headers["Location"] = f"/datasets/{created.id}"
    return created


@router.get("")
def list_datasets(session: SessionDep, principal: PrincipalDep, page: PageDep) -> ListOf[DatasetOut]:
    found = datasets.list_datasets(session, principal.project_id, page)
    return render_list([render_dataset(state) for state in found.rows], has_more=found.has_more)


@router.get("/{dataset_id}")
def get_dataset(dataset_id: DatasetId, session: SessionDep, principal: PrincipalDep) -> DatasetOut:
    return render_dataset(datasets.get_dataset(session, principal.project_id, dataset_id))


@router.get("/{dataset_id}/report")
def get_report(dataset_id: DatasetId, services: ServicesDep, principal: PrincipalDep) -> Response:
    """Every finding of the import, with what to do about it."""
    with services.transaction() as session:
        dataset = datasets.get_dataset(session, principal.project_id, dataset_id).dataset
    if dataset.attempt is None:
        raise ObjectMissingError("report_not_ready", "the dataset has no report", hint="wait until it is `ready`")
    key = dataset_attempt_prefix(dataset.id, dataset.attempt) + "report.json"
    return Response(services.storage.get_bytes(key), media_type="application/json")


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


def _create_from_json(services: Services, principal: Principal, body: DatasetFromUrl | DatasetFromUpload) -> DatasetOut:
    match body:
        case DatasetFromUrl():
            return _create_from_url(services, principal, body)
        case DatasetFromUpload():
            return _create_from_upload(
                services,
                principal,
                upload_id=body.upload_id,
                name=body.name,
                test_fraction=body.test_fraction,
                metadata=body.metadata,
            )
        case _:
            assert_never(body)


def _create_from_url(services: Services, principal: Principal, body: DatasetFromUrl) -> DatasetOut:
    check_source(body.url, services.settings)
    with services.transaction() as session:
        state = datasets.create_dataset_from_url(
            session,
            project_id=principal.project_id,
            name=body.name,
            url=body.url,
            test_fraction=body.test_fraction,
            metadata=body.metadata,
        )
        return render_dataset(state)


def _create_from_file(services: Services, principal: Principal, received: ReceivedFile) -> DatasetOut:
    return _create_from_upload(
        services,
        principal,
        upload_id=received.upload_id,
        name=received.form.name,
        test_fraction=received.form.test_fraction,
        metadata={},
    )


def _create_from_upload(
    services: Services,
    principal: Principal,
    *,
    upload_id: str,
    name: str,
    test_fraction: float,
    metadata: datasets.Metadata,
) -> DatasetOut:
    with services.transaction() as session:
        state = datasets.create_dataset_from_upload(
            session,
            project_id=principal.project_id,
            upload_id=upload_id,
            name=name,
            test_fraction=test_fraction,
            metadata=metadata,
        )
        return render_dataset(state)
