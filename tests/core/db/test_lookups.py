from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from core.db.lookups import Lookups
from core.db.session import SessionFactory
from core.keys import authenticate, create_key
from core.settings import Settings


@pytest.fixture
def lookups(settings: Settings) -> Iterator[Lookups]:
    lookups = Lookups(settings.database_url.get_secret_value())
    yield lookups
    lookups.close()


def find_pid(connection: Connection) -> int:
    pid: int = connection.execute(text("select pg_backend_pid()")).scalar_one()
    return pid


def test_connections_are_kept(lookups: Lookups) -> None:
    assert lookups.read(find_pid) == lookups.read(find_pid)


def test_who_meets_a_dead_connection_asks_again(lookups: Lookups, session: Session) -> None:
    first = lookups.read(find_pid)
    session.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": first})

    assert lookups.read(find_pid) != first


def test_other_errors_are_not_asked_again(lookups: Lookups) -> None:
    asked = []

    def divide(connection: Connection) -> None:
        asked.append(connection)
        connection.execute(text("select 1 / 0"))

    with pytest.raises(DataError):
        lookups.read(divide)
    assert len(asked) == 1


def test_each_statement_is_its_own_transaction(lookups: Lookups, sessions: SessionFactory) -> None:
    """So that the use of a key is written although nobody commits."""
    with sessions.begin() as session:
        key = create_key(session, project_id=None, name="line", scopes=("predict",))

    lookups.read(lambda connection: authenticate(connection, key.secret))

    with sessions() as session:
        used = session.execute(text("select last_used_at is not null from keys where id = :id"), {"id": key.id})
        assert used.scalar_one()
