"""The Annotated aliases that routes use."""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Literal, cast

from fastapi import Depends, Query, Request
from sqlalchemy.orm import Session

from api.services import Services
from core.keys import Principal
from core.paging import PageRequest


async def get_services(request: Request) -> Services:
    """Async, because it needs no thread: `/readyz` answers also when all of them hang."""
    return cast(Services, request.app.state.services)  # Starlette's state is untyped


async def get_principal(request: Request) -> Principal:
    return cast(Principal, request.state.principal)  # set by GateLayer


async def hold_session_slot(services: Annotated[Services, Depends(get_services)]) -> AsyncIterator[None]:
    """A crowd waits here, without a thread: were all threads to wait for connections, no session could end.

    The slots are as many as the pool's connections, and its overflow is left to who asks, reads and gives back in one
    thread.
    """
    async with services.session_slots:
        yield


def get_session(
    services: Annotated[Services, Depends(get_services)],
    _slot: Annotated[None, Depends(hold_session_slot, scope="function")],
) -> Iterator[Session]:
    with services.transaction() as session:
        yield session


def get_page(
    after: Annotated[str | None, Query(description="`last_id` of the page before", max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="by time of creation")] = "desc",
) -> PageRequest:
    return PageRequest(after=after, limit=limit, order=order)


NameFilter = Annotated[str | None, Query(description="Lists what has exactly this name", max_length=200)]
ServicesDep = Annotated[Services, Depends(get_services)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]
# scope="function": commits before the response is sent, so a failed commit is never a 200
SessionDep = Annotated[Session, Depends(get_session, scope="function")]
PageDep = Annotated[PageRequest, Depends(get_page)]
