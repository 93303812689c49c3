"""Engines and sessions, made at the edges and passed in."""

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

SessionFactory = sessionmaker[Session]


def make_engine(database_url: str, *, pool_size: int = 10) -> Engine:
    """Every wait has an end: 5 s to connect, 5 s for a pooled connection, 30 s a statement."""
    return create_engine(
        database_url,
        pool_size=pool_size,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC"},
    )


def make_session_factory(engine: Engine) -> SessionFactory:
    return sessionmaker(engine, expire_on_commit=False)
