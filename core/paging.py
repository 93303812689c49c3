"""Keyset pages by id: ids sort by time, so a page never skips or repeats a row that was there before it."""

from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Mapped, Session

Row = TypeVar("Row")


class PageRequest(NamedTuple):
    after: str | None = None
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"


@dataclass(frozen=True)
class Page(Generic[Row]):
    rows: list[Row]
    has_more: bool


def fetch_page(session: Session, query: Select[Row], id_column: Mapped[str], page: PageRequest) -> Page[Row]:
    """One row more than asked tells whether there is more."""
    ascending = page.order == "asc"
    if page.after is not None:
        query = query.where(id_column > page.after if ascending else id_column < page.after)
    query = query.order_by(id_column.asc() if ascending else id_column.desc())
    rows = list(session.scalars(query.limit(page.limit + 1)))
    return Page(rows=rows[: page.limit], has_more=len(rows) > page.limit)
