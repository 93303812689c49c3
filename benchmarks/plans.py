"""Shows how PostgreSQL runs a statement, and what that costs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, text

Node = dict[str, Any]  # of a plan in JSON: its keys depend on its type
Query = Select[*tuple[Any, ...]]  # of what columns it is does not matter


class Execution(NamedTuple):
    milliseconds: float  # in the executor alone: no planning, no network, no commit
    pages: int
    most_rows: int  # that one node of the plan has read, those that it left out included


def explain(connection: Connection, query: Query) -> str:
    return "\n".join(connection.scalars(text(f"explain (costs off) {_compile(connection, query)}")))


def execute_explained(connection: Connection, query: Query) -> Execution:
    options = "analyze, buffers, timing off, format json"  # the clock is read twice, not twice a row
    (explained,) = connection.execute(text(f"explain ({options}) {_compile(connection, query)}")).scalar_one()
    plan = explained["Plan"]
    return Execution(
        milliseconds=explained["Execution Time"],
        pages=plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
        most_rows=max(_count_rows(node) for node in _list_nodes(plan)),
    )


def _compile(connection: Connection, query: Query) -> str:
    return str(query.compile(connection.engine, compile_kwargs={"literal_binds": True}))


def _list_nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _list_nodes(child)


def _count_rows(node: Node) -> int:
    left_out = sum(value for key, value in node.items() if key.startswith("Rows Removed by"))
    return round(float(node["Actual Rows"] + left_out) * int(node["Actual Loops"]))
