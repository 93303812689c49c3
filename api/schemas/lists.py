"""Renders one page of anything that has an id."""

from typing import Protocol, TypeVar

from api.schemas.common import ListOf


class HasId(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=HasId)


def render_list(items: list[Item], *, has_more: bool) -> ListOf[Item]:
    return ListOf(
        data=items,
        has_more=has_more,
        first_id=items[0].id if items else None,
        last_id=items[-1].id if items else None,
    )
