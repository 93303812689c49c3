"""Engines and sessions, made at the edges and passed in."""

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

SessionFactory = sessionmaker[Session]
Connected = Session | Connection  # what executes statements
NUL_STATES = {None, "22021", "22P05"}  # the driver itself, the server of a text, the server of JSON
DATABASE_OUTAGES = (OperationalError, PoolTimeoutError)  # what is raised while the database is away
LOOKUP_CONNECTIONS = 12  # as many as threads of an API process look up at a time

_CONNECT_ARGS = {
    "connect_timeout": 5,
    "options": "-c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC",
    # A host that vanished answers nothing, not even with a reset: seen after about 10 s, idle or busy.
    "keepalives": 1,
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def make_engine(database_url: str, *, pool_size: int = 10) -> Engine:
    """Every wait has an end: 5 s to connect, 5 s for a pooled connection, 30 s a statement, 10 s for a vanished host.

    Only a server that is stopped, but whose host lives, keeps who waits for it until it goes on or ends.
    """
    return create_engine(
        database_url,
        pool_size=pool_size,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args=_CONNECT_ARGS,
        hide_parameters=True,  # an error that is logged must not show what a row holds
    )


def make_session_factory(engine: Engine) -> SessionFactory:
    return sessionmaker(engine, expire_on_commit=False)


def make_lookup_engine(database_url: str) -> Engine:
    """For `core.db.lookups`: each statement is its own transaction, and nothing is sent but it."""
    return create_engine(
        database_url,
        isolation_level="AUTOCOMMIT",
        pool_size=LOOKUP_CONNECTIONS,
        max_overflow=0,
        pool_timeout=5,
        pool_reset_on_return=None,
        connect_args=_CONNECT_ARGS,
        hide_parameters=True,
    )


def is_about_nul(error: DataError) -> bool:
    """Whether a text holds the one character that PostgreSQL keeps in none."""
    return isinstance(error.orig, psycopg.Error) and error.orig.sqlstate in NUL_STATES
