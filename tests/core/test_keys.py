from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Key
from core.errors import InvalidInputError, UnauthenticatedError
from core.keys import Principal, authenticate, create_key, ensure_project, revoke_key
from core.quotas import QuotaName, set_quota


def test_secret_names_its_project_and_scopes(session: Session) -> None:
    project_id = ensure_project(session)
    key = create_key(session, project_id=project_id, name="a", scopes=("read", "predict"))

    assert authenticate(session, key.secret) == Principal(key.id, project_id, frozenset({"read", "predict"}))


def test_secret_is_not_stored(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",))

    row = session.scalars(select(Key)).one()
    assert key.secret not in str(vars(row))


def refuse(session: Session, secret: str) -> str:
    """The code that the holder of the key reads."""
    with pytest.raises(UnauthenticatedError) as caught:
        authenticate(session, secret)
    return caught.value.code


def test_expired_key_is_refused_by_a_code_of_its_own(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",), expires_in_days=1)
    authenticate(session, key.secret)
    session.get_one(Key, key.id).expires_at = datetime(2020, 1, 1, tzinfo=UTC)
    session.flush()

    assert refuse(session, key.secret) == "key_expired"


def test_key_expires_in_days_or_at_a_time(session: Session) -> None:
    then = datetime.now(UTC) + timedelta(hours=1)
    days = create_key(session, project_id=None, name="a", scopes=("read",), expires_in_days=90)
    time = create_key(session, project_id=None, name="a", scopes=("read",), expires_at=then)
    never = create_key(session, project_id=None, name="a", scopes=("read",))

    expiries = [session.get_one(Key, key.id).expires_at for key in (days, time, never)]

    assert expiries[0] is not None
    assert timedelta(days=89) < expiries[0] - datetime.now(UTC) < timedelta(days=91)
    assert expiries[1:] == [then, None]


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expiry_in_the_past"),
        ({"expires_at": datetime(2040, 1, 1, tzinfo=UTC), "expires_in_days": 1}, "ambiguous_expiry"),
    ],
)
def test_senseless_expiry_is_refused(session: Session, expiry: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        create_key(session, project_id=None, name="a", scopes=("read",), **expiry)

    assert caught.value.code == code


def test_revoked_key_is_refused_by_a_code_of_its_own(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",))
    revoke_key(session, ensure_project(session), key.id)
    session.flush()

    assert refuse(session, key.secret) == "key_revoked"


def test_last_use_is_written_at_most_once_a_minute(session: Session) -> None:
    made = create_key(session, project_id=None, name="a", scopes=("read",))
    key = session.get_one(Key, made.id)

    def use() -> tuple[datetime | None, str]:
        """When it was used last, and the transaction and command that wrote it."""
        authenticate(session, made.secret)
        session.refresh(key)
        written_by = session.scalar(text("select cmin::text || ctid::text from keys where id = :id"), {"id": made.id})
        return key.last_used_at, str(written_by)

    first = use()
    assert first[0] is not None
    assert use() == first

    key.last_used_at = first[0] - timedelta(seconds=61)
    session.flush()
    again = use()[0]
    assert again is not None
    assert again >= first[0]


def test_use_is_recorded_without_waiting_for_another_transaction(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        key = create_key(session, project_id=None, name="a", scopes=("read",))

    with sessions.begin() as holder:
        holder.get_one(Key, key.id, with_for_update=True)
        with sessions.begin() as session:
            session.execute(text("set local lock_timeout = '100ms'"))
            authenticate(session, key.secret)
            assert session.get_one(Key, key.id).last_used_at is None


def test_projects_own_rate_comes_with_the_key(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",))
    assert authenticate(session, key.secret, requests_per_second=7).requests_per_second == 7

    set_quota(session, ensure_project(session), QuotaName.REQUESTS_PER_SECOND, 3)
    assert authenticate(session, key.secret, requests_per_second=7).requests_per_second == 3

    set_quota(session, ensure_project(session), QuotaName.REQUESTS_PER_SECOND, None)
    assert authenticate(session, key.secret, requests_per_second=7).requests_per_second is None


def test_unknown_scope_is_refused(session: Session) -> None:
    with pytest.raises(InvalidInputError, match="rule"):
        create_key(session, project_id=None, name="a", scopes=("rule",))
