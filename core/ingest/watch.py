"""The clocks of a fetch."""

import time
from collections.abc import Callable

from core.ingest.errors import FetchError, IngestStoppedError
from core.ingest.url_policy import UrlPolicy

SLICE_SECONDS = 0.5  # how soon who waits hears that it has to stop


class Watch:
    """Watches one fetch, redirects included; what its own reader takes is not held against the server."""

    def __init__(self, policy: UrlPolicy, should_stop: Callable[[], bool]) -> None:
        self._policy = policy
        self._should_stop = should_stop
        self._ends_at = time.monotonic() + policy.total_seconds
        self._answer_by = 0.0
        self._is_answered = True
        self._window_seconds = 0.0
        self._window_bytes = 0

    def expect_answer(self) -> None:
        """Called when a request goes out: the headers have to be there in time, however slowly they drip."""
        self._answer_by = time.monotonic() + self._policy.first_byte_seconds
        self._is_answered = False

    def answered(self) -> None:
        self._is_answered = True

    def check(self, *, waiting_since: float, idle_seconds: float) -> None:
        now = time.monotonic()
        if self._should_stop():
            raise IngestStoppedError
        is_late = not self._is_answered and now > self._answer_by
        if is_late or now > self._ends_at or now - waiting_since > idle_seconds:
            raise _too_slow()

    def count(self, num_bytes: int, *, waited_seconds: float) -> None:
        """Of the body; a drip that is never idle ends here."""
        if not self._is_answered:
            return
        self._window_bytes += num_bytes
        self._window_seconds += waited_seconds
        if self._window_seconds < self._policy.rate_seconds:
            return
        if self._window_bytes < self._policy.min_bytes_per_second * self._window_seconds:
            raise _too_slow()
        self._window_bytes, self._window_seconds = 0, 0.0

    def wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self.check(waiting_since=time.monotonic(), idle_seconds=left)
            time.sleep(min(left, SLICE_SECONDS))


def _too_slow() -> FetchError:
    return FetchError("url_timeout", "the server is too slow", hint="try again, or upload the file")
