"""Whether each server answers: what `/readyz` and `bitune doctor` ask."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import Engine, text

from core.db.migrate import is_current
from core.dispatch import Dispatcher
from core.errors import UnavailableError
from core.storage import Storage

Check = Callable[[], None]  # raises when something is wrong


def list_checks(engine: Engine, dispatcher: Dispatcher, storage: Storage) -> dict[str, Check]:
    return {
        "database": partial(_check_database, engine),
        "migrations": partial(_check_migrations, engine),
        "broker": dispatcher.check,
        "storage": storage.check,
    }


def _check_database(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("select 1"))


def _check_migrations(engine: Engine) -> None:
    if not is_current(engine):
        raise UnavailableError("database_outdated", "the database is not at the newest migration; run `bitune migrate`")
