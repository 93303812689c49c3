"""Shows how PostgreSQL runs a statement; of what columns it is does not matter."""

from typing import Any

from sqlalchemy import Connection, Select, text


def explain(connection: Connection, query: Select[*tuple[Any, ...]], *, options: str = "costs off") -> str:
    compiled = query.compile(connection.engine, compile_kwargs={"literal_binds": True})
    return "\n".join(connection.scalars(text(f"explain ({options}) {compiled}")))
