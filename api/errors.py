"""From an error's category to an HTTP status, and the one renderer of problem+json (RFC 9457)."""

from typing import NamedTuple

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.schemas.common import FieldError, Problem
from core.db.session import DATABASE_OUTAGES, is_about_nul
from core.errors import BituneError, BusyError, ErrorCategory

log = structlog.get_logger()

RETRY_AFTER_SECONDS = 5
STATUS: dict[ErrorCategory, int] = {
    ErrorCategory.INVALID: 422,
    ErrorCategory.UNAUTHENTICATED: 401,
    ErrorCategory.FORBIDDEN: 403,
    ErrorCategory.NOT_FOUND: 404,
    ErrorCategory.CONFLICT: 409,
    ErrorCategory.TOO_LARGE: 413,
    ErrorCategory.UNSUPPORTED_MEDIA: 415,
    ErrorCategory.OVERLOADED: 429,
    ErrorCategory.UNAVAILABLE: 503,
}
TITLES = {
    400: "Bad request",
    401: "A valid API key is needed",
    403: "The key may not do this",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict with the present state",
    413: "Body too large",
    415: "Unsupported media type",
    422: "The request is not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Temporarily unavailable",
}


class Failure(NamedTuple):
    """What the renderer needs to know of an error."""

    status: int
    code: str
    detail: str
    hint: str = ""
    param: str | None = None
    retryable: bool = False
    retry_after_seconds: int = RETRY_AFTER_SECONDS
    fields: tuple[FieldError, ...] = ()


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(BituneError, _handle)
    app.add_exception_handler(RequestValidationError, _handle)
    app.add_exception_handler(HTTPException, _handle)
    app.add_exception_handler(DataError, _handle)
    for outage in DATABASE_OUTAGES:
        app.add_exception_handler(outage, _handle)
    app.add_exception_handler(Exception, _handle_unexpected)


def render(error: Exception, scope: Scope) -> JSONResponse:
    failure = describe(error)
    if failure.status >= 500 and not isinstance(error, BusyError):
        log.error("request_failed", status=failure.status, code=failure.code, exc_info=error)
    return _respond(failure, error, scope)


def _respond(failure: Failure, error: Exception, scope: Scope) -> JSONResponse:
    problem = Problem(
        type=f"urn:bitune:problem:{failure.code}",
        title=TITLES.get(failure.status, "Error"),
        status=failure.status,
        detail=failure.detail,
        instance=scope["path"],
        code=failure.code,
        param=failure.param,
        hint=failure.hint or None,
        request_id=scope.get("state", {}).get("request_id"),
        retryable=failure.retryable,
        errors=list(failure.fields),
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True),
        status_code=failure.status,
        media_type="application/problem+json",
        headers=_headers(failure, error),
    )


def describe(error: Exception) -> Failure:
    match error:
        case BituneError():
            return Failure(
                status=STATUS[error.category],
                code=error.code,
                detail=error.message,
                hint=error.hint,
                param=error.param,
                retryable=error.retryable,
                retry_after_seconds=error.retry_after_seconds or RETRY_AFTER_SECONDS,
            )
        case RequestValidationError():
            return _describe_validation(error)
        case HTTPException(status_code=400):  # FastAPI's, for a body that is no text
            return Failure(422, "invalid_json", "the body is no JSON in UTF-8", "send JSON")
        case HTTPException():
            return Failure(
                error.status_code, _http_code(error.status_code), str(error.detail), "see /docs for what there is"
            )
        case _:
            return _describe_foreign(error)


async def _handle(request: Request, error: Exception) -> JSONResponse:
    return render(error, request.scope)


async def _handle_unexpected(request: Request, error: Exception) -> JSONResponse:
    """Logs nothing: Starlette raises the error again once this is sent, and the outermost layer logs it."""
    return _respond(describe(error), error, request.scope)


def _describe_foreign(error: Exception) -> Failure:
    if isinstance(error, DataError) and is_about_nul(error):
        return Failure(422, "invalid_text", "a text holds a NUL character", "leave it out")
    if isinstance(error, DATABASE_OUTAGES):
        return Failure(503, "database_unavailable", "the database does not answer", "try again", retryable=True)
    return Failure(500, "internal_error", "something failed on our side", "quote the request id to the operator")


def _describe_validation(error: RequestValidationError) -> Failure:
    fields = tuple(_describe_field(item, error.body) for item in error.errors())
    first = fields[0]
    return Failure(
        status=422,
        code=first.code if first.code == "unknown_field" else "invalid_request",
        detail=f"{first.pointer}: {first.detail}" if first.pointer else first.detail,
        hint="see `errors` for each field; the schema is at /docs",
        param=first.pointer.strip("/").replace("/", ".") or None,
        fields=fields,
    )


def _describe_field(item: dict[str, object], body: object) -> FieldError:
    location = item["loc"]
    source, *parts = location if isinstance(location, tuple | list) else ("",)
    if source == "body" and body is not None:
        parts = _keep_what_is_there(parts, body, is_missing=item["type"] == "missing")
    unknown = item["type"] == "extra_forbidden"
    return FieldError(
        pointer="".join(f"/{part}" for part in parts),
        code="unknown_field" if unknown else str(item["type"]),
        detail="there is no such field" if unknown else str(item["msg"]),
    )


def _keep_what_is_there(parts: list[object], body: object, *, is_missing: bool) -> list[object]:
    """Without the members of unions that pydantic names among the fields: a client looks for the place in its body."""
    kept: list[object] = []
    place = body
    for number, part in enumerate(parts):
        match place:
            case dict() if part in place:
                place = place[part]
            case list() if isinstance(part, int) and part < len(place):
                place = place[part]
            case _ if not is_missing or number < len(parts) - 1:
                continue
        kept.append(part)
    return kept


def _http_code(status: int) -> str:
    return {404: "not_found", 405: "method_not_allowed"}.get(status, f"http_{status}")


def _headers(failure: Failure, error: Exception) -> dict[str, str]:
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if failure.status in {429, 503} or failure.retryable:
        headers["Retry-After"] = str(failure.retry_after_seconds)
    if failure.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
