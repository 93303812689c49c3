"""The look-ups that every request makes, on connections of their own."""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from core.db.session import make_lookup_engine

Result = TypeVar("Result")


class Lookups:
    """Nobody asks a connection whether it still lives before he uses it: who meets a dead one asks again."""

    def __init__(self, database_url: str) -> None:
        self._engine = make_lookup_engine(database_url)

    def read(self, ask: Callable[[Connection], Result]) -> Result:
        """What `ask` returns; it may be called twice. Each of its statements is its own transaction."""
        try:
            return self._read_once(ask)
        except DBAPIError as exc:
            if not exc.connection_invalidated:
                raise
        return self._read_once(ask)  # the first error made the pool forget all older connections

    def close(self) -> None:
        self._engine.dispose()

    def _read_once(self, ask: Callable[[Connection], Result]) -> Result:
        with self._engine.connect() as connection:
            return ask(connection)
