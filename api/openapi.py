"""The OpenAPI document: FastAPI's, with the key that every route needs, problems as they are sent, and an example of
everything."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from api.errors import RETRY_AFTER_SECONDS, TITLES
from api.examples import make_example
from api.request_kinds import OPEN_PATHS
from api.schemas.datasets import DatasetFromUpload, DatasetFromUrl
from api.schemas.predictions import PredictJson

Document = dict[str, Any]  # JSON Schema and OpenAPI are open-ended

STREAMED_BODIES = (DatasetFromUrl, DatasetFromUpload, PredictJson)
REFERENCE = "#/components/schemas/{model}"
PROBLEM_JSON = "application/problem+json"
RETRY_AFTER = {
    "description": "Seconds after which to try again",
    "schema": {"type": "integer", "example": RETRY_AFTER_SECONDS},
}
TAGS = ("operations", "keys", "uploads", "datasets", "jobs", "models", "predict")  # as people come to need them
CODES = {  # one that each status may carry
    400: ("invalid_form", "the multipart body broke off", "send it again"),
    401: ("invalid_key", "the API key is unknown", "make a new key"),
    403: ("scope_missing", "the key lacks the scope 'write'", "use a key that has it"),
    404: (
        "job_not_found",
        "there is no job 'job_01k9ve5x3g7q8v5t2m6n4p8r0s'",
        "`GET /jobs` lists those of the key's project",
    ),
    409: ("already_finished", "it is succeeded already", "only unfinished work can be cancelled"),
    413: ("body_too_large", "the body has more than 1000000 bytes", "send less"),
    415: ("unsupported_body", "the body is neither a form nor JSON", "send multipart/form-data or JSON"),
    422: ("unknown_field", "/learning_rte: there is no such field", "see `errors` for each field"),
    429: ("overloaded", "all places are taken", "try again"),
    503: ("database_unavailable", "the database does not answer", "try again"),
}


def build(app: FastAPI) -> Document:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document["paths"] = dict(sorted(document["paths"].items(), key=_find_place))
    schemas = document["components"]["schemas"]
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= _make_schemas_of_streamed_bodies()
    for schema in schemas.values():
        _restore_nulls(schema)
    for name, schema in schemas.items():
        schema.setdefault("examples", [make_example({"$ref": REFERENCE.format(model=name)}, schemas)])
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "bt_…"}}
    gets = [operation for _, method, operation in list_operations(document) if method == "get"]
    # What a GET shows is not shown again by the POST that answers the same.
    shown = [_find_schema(response) for operation in gets for response in operation["responses"].values()]
    for path, method, operation in list_operations(document):
        if path not in OPEN_PATHS:
            operation["security"] = [{"key": []}]
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                _describe_problem(int(status), path, response)
            elif method == "get" or _find_schema(response) not in shown:
                _add_example(response, schemas)
                shown.append(_find_schema(response))
    return document


def _find_place(described_path: tuple[str, Document]) -> int:
    """By the tag that the operations of a path share."""
    _, operations = described_path
    (tag,) = {operation["tags"][0] for operation in operations.values()}
    return TAGS.index(tag)


def _make_schemas_of_streamed_bodies() -> Document:
    """FastAPI does not see what a route parses itself."""
    _, definitions = models_json_schema([(body, "validation") for body in STREAMED_BODIES], ref_template=REFERENCE)
    schemas: Document = definitions["$defs"]
    return schemas


def list_operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def _restore_nulls(schema: Document) -> None:
    """FastAPI drops them from examples, also where a field is required."""
    for example in schema.get("examples", []):
        for name in schema.get("required", []):
            example.setdefault(name, None)


def _describe_problem(status: int, path: str, response: Document) -> None:
    code, detail, hint = CODES[status]
    example = {
        "type": f"urn:bitune:problem:{code}",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
        "instance": path,
        "code": code,
        "request_id": "req_01k9ve5x3g7q8v5t2m6n4p8r0s",
        "retryable": status in {429, 503},
        "errors": [],
    }
    if hint is not None:
        example["hint"] = hint
    response["description"] = TITLES[status]
    response["content"] = {PROBLEM_JSON: {"schema": {"$ref": REFERENCE.format(model="Problem")}, "example": example}}
    if status in {429, 503}:
        response["headers"] = {"Retry-After": RETRY_AFTER}


def _find_schema(response: Document) -> Document | None:
    schema: Document | None = response.get("content", {}).get("application/json", {}).get("schema")
    return schema


def _add_example(response: Document, schemas: Document) -> None:
    schema = _find_schema(response)
    if schema:
        response["content"]["application/json"].setdefault("example", make_example(schema, schemas))
