"""Alembic's entry: the URL comes from `core.db.migrate` or, for `alembic` on the command line, from the environment."""

from alembic import context
from sqlalchemy import create_engine, pool

from core.db import tables, tenant_tables  # noqa: F401 - register every table on the metadata
from core.db.base import Base
from core.settings import Settings


def find_url() -> str:
    given = context.config.attributes.get("database_url")
    return str(given) if given else Settings().database_url.get_secret_value()


def run_migrations() -> None:
    engine = create_engine(find_url(), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run_migrations()
