"""`Idempotency-Key`: what a POST created is answered again, however often it is sent."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.deps import PrincipalDep
from api.services import Services
from core import idempotency
from core.db.session import DATABASE_OUTAGES
from core.errors import ConflictError
from core.idempotency import Answer, Ticket

REPLAYED = "Idempotent-Replayed"  # as other services name it
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A value of your own, new for each request: sent again with it, the request creates nothing more "
        "and gets the first answer, for 24 h",
    ),
]


async def get_once(request: Request, principal: PrincipalDep, key: KeyHeader = None) -> idempotency.Request | None:
    """For routes whose body is small: it is part of what a key stands for."""
    return None if key is None else identify(request, principal.project_id, key, await request.body())


OnceDep = Annotated[idempotency.Request | None, Depends(get_once)]


def identify(request: Request, project_id: str, key: str, body: bytes) -> idempotency.Request:
    return idempotency.Request(
        project_id=project_id,
        key=key,
        route=f"{request.method} {request.url.path}",
        body_sha256=hashlib.sha256(body).hexdigest(),
    )


def create_once(
    services: Services,
    once: idempotency.Request | None,
    create: Callable[[Session], Answer],
    *,
    keep_body: bool = True,
) -> JSONResponse:
    """`create` runs in the transaction that settles the key; without a key, in one of its own.

    A body that holds a secret is not kept: a replay then says what was created, and no more.
    """
    if once is None:
        with services.transaction() as session:
            return _respond(create(session))
    with services.transaction() as session:
        taken = idempotency.take(session, once)
    if isinstance(taken, Answer):
        return _replay(taken)
    with _given_back_on_failure(services, taken), services.transaction() as session:
        answer = create(session)
        idempotency.settle(session, taken, answer if keep_body else answer.model_copy(update={"body": None}))
    return _respond(answer)


def created(body: BaseModel, *, status_code: int, location: str | None) -> Answer:
    return Answer(status_code=status_code, location=location, body=body.model_dump(mode="json"))


@contextmanager
def _given_back_on_failure(services: Services, ticket: Ticket) -> Iterator[None]:
    """A request that failed may be mended and sent again at once; what dies with its process waits for the lease."""
    try:
        yield
    except BaseException:
        with suppress(*DATABASE_OUTAGES), services.transaction() as session:
            idempotency.give_back(session, ticket)
        raise


def _respond(answer: Answer) -> JSONResponse:
    headers = {} if answer.location is None else {"Location": answer.location}
    return JSONResponse(answer.body, status_code=answer.status_code, headers=headers)


def _replay(answer: Answer) -> JSONResponse:
    if answer.body is None:
        raise ConflictError(
            "shown_once",
            f"it was created before, as {answer.location}, and is shown once alone",
            hint="if the first answer got lost, delete it and create another with a new Idempotency-Key",
        )
    response = _respond(answer)
    response.headers[REPLAYED] = "true"
    return response
