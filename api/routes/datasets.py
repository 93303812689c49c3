"""Datasets: in as a file or a URL, ready by an import run."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from api.deps import PageDep, PrincipalDep, ServicesDep, SessionDep
from api.schemas.common import ListOf, Problem
from api.schemas.datasets import DatasetFromUrl, DatasetOut, render_dataset
from api.schemas.lists import render_list
from api.services import Services
from api.uploads import ReceivedFile, receive_file
from core import datasets
from core.errors import UnsupportedMediaError
from core.ingest.urls import UrlPolicy, check_url
from core.keys import Principal

router = APIRouter(prefix="/datasets", tags=["datasets"])
DatasetId = Annotated[str, Path(max_length=64)]

CREATE_BODY: dict[str, Any] = {  # OpenAPI by hand: the route streams its body
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/DatasetFromUrl"},
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
    responses={413: {"model": Problem}, 415: {"model": Problem}, 422: {"model": Problem}},
)
async def create_dataset(
    request: Request, response: Response, services: ServicesDep, principal: PrincipalDep
) -> DatasetOut:
    """Takes a multipart upload (`file`, `name`) or JSON (`name`, `url`); poll the dataset until it is `ready`."""
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        received = await receive_file(request, services, principal.project_id)
        created = await run_in_threadpool(_create_from_file, services, principal, received)
    elif content_type.startswith("application/json"):
        body = _parse_url_body(await request.body())
        created = await run_in_threadpool(_create_from_url, services, principal, body)
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


@router.delete("/{dataset_id}", status_code=204, responses={409: {"model": Problem}})
def delete_dataset(dataset_id: DatasetId, session: SessionDep, principal: PrincipalDep) -> Response:
    datasets.delete_dataset(session, principal.project_id, dataset_id)
    return Response(status_code=204)


def _parse_url_body(raw: bytes) -> DatasetFromUrl:
    try:
        return DatasetFromUrl.model_validate_json(raw)
    except ValidationError as exc:
        errors = [error | {"loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise RequestValidationError(errors) from exc


def _create_from_url(services: Services, principal: Principal, body: DatasetFromUrl) -> DatasetOut:
    check_url(body.url, UrlPolicy.from_settings(services.settings))
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
    with services.transaction() as session:
        state = datasets.create_dataset_from_upload(
            session,
            project_id=principal.project_id,
            upload_id=received.upload_id,
            name=received.form.name,
            test_fraction=received.form.test_fraction,
            metadata={},
        )
        return render_dataset(state)
