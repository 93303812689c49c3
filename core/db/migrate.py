"""Brings a database to the newest schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

MIGRATIONS = Path(__file__).parents[2] / "migrations"


def upgrade(database_url: str, revision: str = "head") -> None:
    command.upgrade(make_config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    command.downgrade(make_config(database_url), revision)


def is_current(engine: Engine) -> bool:
    """Whether the database stands at this code's newest migration."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == _head()


def make_config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def _head() -> str | None:
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()
