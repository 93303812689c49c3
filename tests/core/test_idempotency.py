from datetime import timedelta

import pytest
from sqlalchemy import func, update
from sqlalchemy.orm import Session

from core.db.tables import IdempotencyKey
from core.errors import InFlightError, InvalidInputError
from core.idempotency import Answer, Request, Ticket, forget_old_keys, give_back, settle, take
from tests.factories import make_project

ANSWER = Answer(status_code=202, location="/jobs/job_a", body={"id": "job_a"})


@pytest.fixture
def request_a(session: Session) -> Request:
    return Request(make_project(session), "key-a", "POST /jobs", "a" * 64)


def take_first(session: Session, request: Request) -> Ticket:
    taken = take(session, request)
    assert isinstance(taken, Ticket)
    return taken


def age(session: Session, hours: float) -> None:
    past = func.clock_timestamp() - timedelta(hours=hours)
    session.execute(update(IdempotencyKey).values(created_at=past))
    session.execute(update(IdempotencyKey).where(IdempotencyKey.locked_until.is_not(None)).values(locked_until=past))


def test_settled_request_is_answered_again(session: Session, request_a: Request) -> None:
    settle(session, take_first(session, request_a), ANSWER)

    assert take(session, request_a) == ANSWER


def test_request_in_flight_is_not_begun_again(session: Session, request_a: Request) -> None:
    take_first(session, request_a)

    with pytest.raises(InFlightError):
        take(session, request_a)


@pytest.mark.parametrize("field", ["route", "body_sha256"])
def test_key_of_another_request_is_refused(session: Session, request_a: Request, field: str) -> None:
    settle(session, take_first(session, request_a), ANSWER)

    with pytest.raises(InvalidInputError) as raised:
        take(session, request_a._replace(**{field: "other"}))
    assert raised.value.code == "idempotency_key_reused"


def test_keys_of_projects_are_apart(session: Session, request_a: Request) -> None:
    settle(session, take_first(session, request_a), ANSWER)

    take_first(session, request_a._replace(project_id=make_project(session)))


def test_request_that_failed_may_come_again(session: Session, request_a: Request) -> None:
    give_back(session, take_first(session, request_a))

    take_first(session, request_a._replace(body_sha256="b" * 64))


def test_expired_lease_is_taken_over_and_its_holder_cannot_settle(session: Session, request_a: Request) -> None:
    old = take_first(session, request_a)
    age(session, hours=1)
    new = take_first(session, request_a)

    with pytest.raises(InFlightError):
        settle(session, old, ANSWER)
    give_back(session, old)
    settle(session, new, ANSWER)

    assert take(session, request_a) == ANSWER


def test_key_is_forgotten_after_a_day(session: Session, request_a: Request) -> None:
    settle(session, take_first(session, request_a), ANSWER)
    age(session, hours=25)
    take_first(session, request_a)
    age(session, hours=25)

    forget_old_keys(session)

    assert session.query(IdempotencyKey).count() == 0
