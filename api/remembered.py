"""What was found last time: good to begin work with, never to answer by."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")

MAX_REMEMBERED = 1000


class Remembered(Generic[Key, Found]):
    """Bounded: when it is full it forgets all."""

    def __init__(self, max_entries: int = MAX_REMEMBERED) -> None:
        self._max_entries = max_entries
        self._found: dict[Key, Found] = {}

    def recall(self, key: Key) -> Found | None:
        return self._found.get(key)

    def keep(self, key: Key, found: Found) -> None:
        if len(self._found) >= self._max_entries and key not in self._found:
            self._found.clear()
        self._found[key] = found

    def forget(self, key: Key) -> None:
        self._found.pop(key, None)
