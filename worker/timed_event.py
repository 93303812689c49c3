"""An event that knows since when it has been set."""

import threading
import time


class TimedEvent(threading.Event):
    def __init__(self) -> None:
        super().__init__()
        self._set_at: float | None = None

    def set(self) -> None:
        """Once more changes nothing."""
        if self._set_at is None:
            self._set_at = time.monotonic()
        super().set()

    @property
    def seconds(self) -> float:
        """Since it was set first; 0 while it is not."""
        return 0.0 if self._set_at is None else time.monotonic() - self._set_at
