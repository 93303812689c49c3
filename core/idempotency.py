"""Requests that create once, however often they are sent: an `Idempotency-Key` and the answer that it got.

A key is taken in a transaction of its own, under a lease, and settled in the transaction that creates: either both are
committed or neither is, whenever the process dies. An expired lease may be taken over; its old holder then cannot
settle any more, and what it created is rolled back.
"""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Interval, and_, cast, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from core.db.tables import IdempotencyKey
from core.errors import InFlightError, InvalidInputError

LEASE_SECONDS = 30.0  # longer than a request that creates may take
KEPT_HOURS = 24


class Request(NamedTuple):
    """What is to be done once: two requests with one key are the same when route and body are."""

    project_id: str
    key: str
    route: str
    body_sha256: str


class Answer(BaseModel):
    """What the first request got and every later one gets."""

    model_config = ConfigDict(frozen=True)

    status_code: int
    location: str | None
    body: dict[str, Any] | None  # JSON; None is shown once alone


class Ticket(NamedTuple):
    """The right to settle a key, until another request takes it over."""

    request: Request
    locked_until: datetime


def is_settled(session: Session, request: Request | None) -> bool:
    """Whether it has an answer already, whatever its body: then it creates nothing more."""
    if request is None:
        return False
    own = (IdempotencyKey.project_id == request.project_id, IdempotencyKey.key == request.key)
    query = select(IdempotencyKey.key).where(*own, IdempotencyKey.route == request.route, ~_is_in_flight(), ~_is_old())
    return session.scalar(query) is not None


def take(session: Session, request: Request) -> Ticket | Answer:
    """The answer if there is one already; otherwise the key is the caller's to settle or to give back."""
    lease = func.clock_timestamp() + _seconds(LEASE_SECONDS)
    new = insert(IdempotencyKey).values(
        project_id=request.project_id,
        key=request.key,
        route=request.route,
        body_sha256=request.body_sha256,
        locked_until=lease,
    )
    statement = new.on_conflict_do_update(
        index_elements=[IdempotencyKey.project_id, IdempotencyKey.key],
        set_={
            "route": request.route,
            "body_sha256": request.body_sha256,
            "locked_until": lease,
            "status_code": None,
            "response": None,
            "created_at": func.clock_timestamp(),
        },
        where=or_(_is_old(), and_(_is_in_flight(), IdempotencyKey.locked_until < func.clock_timestamp())),
    ).returning(IdempotencyKey.locked_until)
    locked_until = session.scalar(statement)
    if locked_until is not None:
        return Ticket(request, locked_until)
    return _read_answer(session, request)


def settle(session: Session, ticket: Ticket, answer: Answer) -> None:
    """In the transaction that creates."""
    values = {"status_code": answer.status_code, "response": answer.model_dump(mode="json"), "locked_until": None}
    settled = session.scalar(
        update(IdempotencyKey).where(*_is_held(ticket)).values(values).returning(IdempotencyKey.key)
    )
    if settled is None:
        raise _in_flight()


def give_back(session: Session, ticket: Ticket) -> None:
    """Nothing was created: the next request with the key is the first again."""
    session.execute(delete(IdempotencyKey).where(*_is_held(ticket)))


def forget_old_keys(session: Session) -> None:
    session.execute(delete(IdempotencyKey).where(_is_old()))


def _read_answer(session: Session, request: Request) -> Answer:
    row = session.execute(
        select(IdempotencyKey.route, IdempotencyKey.body_sha256, IdempotencyKey.response).where(
            IdempotencyKey.project_id == request.project_id, IdempotencyKey.key == request.key
        )
    ).one_or_none()
    if row is None:  # given back a moment ago
        raise _in_flight()
    if (row.route, row.body_sha256) != (request.route, request.body_sha256):
        raise InvalidInputError(
            "idempotency_key_reused",
            "the Idempotency-Key came with another request before",
            hint="take a new key for every new request; send a retry unchanged",
            param="Idempotency-Key",
        )
    if row.response is None:
        raise _in_flight()
    return Answer.model_validate(row.response)


def _in_flight() -> InFlightError:
    return InFlightError(
        "idempotency_in_flight",
        "a request with this Idempotency-Key is being worked on",
        hint=f"try again; should its server have died, from {LEASE_SECONDS:.0f} s on",
        param="Idempotency-Key",
    )


def _is_held(ticket: Ticket) -> tuple[ColumnElement[bool], ...]:
    return (
        IdempotencyKey.project_id == ticket.request.project_id,
        IdempotencyKey.key == ticket.request.key,
        IdempotencyKey.locked_until == ticket.locked_until,
    )


def _is_in_flight() -> ColumnElement[bool]:
    return IdempotencyKey.status_code.is_(None)


def _is_old() -> ColumnElement[bool]:
    return IdempotencyKey.created_at < func.clock_timestamp() - _seconds(KEPT_HOURS * 3600)


def _seconds(seconds: float) -> ColumnElement[timedelta]:
    return cast(f"{seconds} seconds", Interval)
