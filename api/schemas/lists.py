"""Renders one page of anything that has an id."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from api.schemas.common import ListOf


class HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item")


def render_list(items: list[Item], *, has_more: bool) -> ListOf[Item]:
    """`items` have an `id` each; a bound type variable is more than pydantic's generic models take."""
    ids = _list_ids(items)  # type: ignore[arg-type]  # see above
    return ListOf.model_construct(
        object="list", data=items, has_more=has_more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None
    )


def _list_ids(items: Sequence[HasId]) -> list[str]:
    return [item.id for item in items]
