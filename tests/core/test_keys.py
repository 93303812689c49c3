from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.tables import Key
from core.errors import InvalidInputError, UnauthenticatedError
from core.keys import Principal, authenticate, create_key, ensure_project, revoke_key


def test_secret_names_its_project_and_scopes(session: Session) -> None:
    project_id = ensure_project(session)
    key = create_key(session, project_id=project_id, name="a", scopes=("read", "predict"))

    assert authenticate(session, key.secret) == Principal(key.id, project_id, frozenset({"read", "predict"}))


def test_secret_is_not_stored(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",))

    row = session.scalars(select(Key)).one()
    assert key.secret not in str(vars(row))


def test_expired_key_is_refused(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",))
    session.get_one(Key, key.id).expires_at = datetime(2020, 1, 1, tzinfo=UTC)
    session.flush()

    with pytest.raises(UnauthenticatedError):
        authenticate(session, key.secret)


def test_revoked_key_is_refused(session: Session) -> None:
    key = create_key(session, project_id=None, name="a", scopes=("read",))
    revoke_key(session, ensure_project(session), key.id)
    session.flush()

    with pytest.raises(UnauthenticatedError):
        authenticate(session, key.secret)


def test_unknown_scope_is_refused(session: Session) -> None:
    with pytest.raises(InvalidInputError, match="rule"):
        create_key(session, project_id=None, name="a", scopes=("rule",))
