"""Fixtures on the real database: every test starts with empty tables."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from core.db import tables, tenant_tables  # noqa: F401 - registers its tables
from core.db.session import SessionFactory, make_engine, make_session_factory
from core.settings import Settings
from core.storage import Storage


@pytest.fixture(scope="session")
def engine(settings: Settings) -> Iterator[Engine]:
    engine = make_engine(settings.database_url.get_secret_value())
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> SessionFactory:
    """For tests that commit; what they leave is emptied before the next one."""
    return empty_tables(engine)


@pytest.fixture(scope="module")
def module_sessions(engine: Engine) -> SessionFactory:
    """For a module whose many tests leave each other alone: emptied once, not before each."""
    return empty_tables(engine)


def empty_tables(engine: Engine) -> SessionFactory:
    names = ", ".join(table.name for table in tables.Run.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text(f"truncate {names} restart identity cascade"))
    return make_session_factory(engine)


@pytest.fixture
def session(sessions: SessionFactory) -> Iterator[Session]:
    """Rolled back at the end."""
    with sessions() as session:
        yield session


@pytest.fixture(scope="session")
def storage(settings: Settings) -> Storage:
    return Storage.from_settings(settings)
