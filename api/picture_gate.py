"""How much predict takes on at once: beyond it a request is refused at once, instead of too late."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import BusyError, OverloadedError

PROJECT_SHARE = 0.75  # the rest is for the others


class PictureGate:
    """Counts the pictures of this process that are not answered yet, those of each project too."""

    def __init__(self, *, max_pictures: int) -> None:
        self._max_pictures = max_pictures
        self._held: Counter[str] = Counter()

    def require_room(self, project_id: str) -> None:
        """Raises OverloadedError where the project fills its share, BusyError where all of them fill the whole.

        A request is let in whole: at most one more than the limit allows is at work.
        """
        if self._held[project_id] >= PROJECT_SHARE * self._max_pictures:
            raise OverloadedError(
                "too_many_pictures",
                f"{self._held[project_id]} pictures of the project wait for their labels",
                hint="wait as `Retry-After` says, and send fewer at once",
            )
        if self._held.total() >= self._max_pictures:
            raise BusyError(
                "predict_overloaded",
                "more pictures wait for their labels than this server answers in time",
                hint="wait as `Retry-After` says, or ask the operator for more servers",
            )

    @contextmanager
    def hold(self, project_id: str, count: int) -> Iterator[None]:
        """Room for `count` pictures, for as long as they are at work."""
        self.require_room(project_id)
        self._held[project_id] += count
        try:
            yield
        finally:
            self._held[project_id] -= count
            if not self._held[project_id]:
                del self._held[project_id]
