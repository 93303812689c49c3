"""A session for a command, committed at its end."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from core.db.session import make_engine, make_session_factory
from core.settings import Settings


@contextmanager
def transaction(settings: Settings) -> Iterator[Session]:
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=1)
    try:
        with make_session_factory(engine).begin() as session:
            yield session
    finally:
        engine.dispose()
