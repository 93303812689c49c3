"""The clocks and counters of a fetch."""

import time
from collections.abc import Callable

from core.ingest.errors import FetchError, FetchInterruptedError, IngestStoppedError
from core.ingest.url_policy import UrlPolicy

SLICE_SECONDS = 0.5  # how soon who waits hears that it has to stop
FREE_FRAME_BYTES = 256 * 1024  # of headers and chunk sizes; past them a body has to outweigh its frames


class Watch:
    """Watches one fetch, redirects included; what its own reader takes is not held against the server."""

    def __init__(self, policy: UrlPolicy, should_stop: Callable[[], bool]) -> None:
        self._policy = policy
        self._should_stop = should_stop
        self._ends_at = time.monotonic() + policy.total_seconds
        self._answer_by: float | None = None
        self._received_bytes = 0
        self._body_bytes = 0
        self._window_began_at = 0.0
        self._window_body_bytes = 0

    def expect_answer(self) -> None:
        """Called when a request goes out: the headers have to be there in time, however slowly they drip."""
        self._answer_by = time.monotonic() + self._policy.first_byte_seconds

    def answered(self) -> None:
        self._answer_by = None
        self._window_began_at = time.monotonic()
        self._window_body_bytes = self._body_bytes

    def excuse(self, seconds: float) -> None:
        """The reader was busy for so long."""
        self._window_began_at += seconds

    def count_received(self, num_bytes: int) -> None:
        self._received_bytes += num_bytes
        if self._received_bytes > FREE_FRAME_BYTES + 2 * self._body_bytes + num_bytes:
            raise FetchError("url_bad_response", "the server sends less of a file than around it")

    def count_body(self, num_bytes: int) -> None:
        self._body_bytes += num_bytes

    def check(self, *, waiting_since: float, idle_seconds: float) -> None:
        now = time.monotonic()
        if self._should_stop():
            raise IngestStoppedError
        is_late = self._answer_by is not None and now > self._answer_by
        if now > self._ends_at:
            raise FetchError("url_timeout", "the server is too slow", hint="upload the file instead")
        if is_late or now - waiting_since > idle_seconds or self._is_dripping(now):
            raise FetchInterruptedError("url_timeout", "the server is too slow", hint="try again, or upload the file")

    def wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self.check(waiting_since=time.monotonic(), idle_seconds=left)
            time.sleep(min(left, SLICE_SECONDS))  # a slice, so that a stop is seen soon

    def _is_dripping(self, now: float) -> bool:
        """Never idle, and yet slower than allowed over a whole window; the next begins here."""
        elapsed = now - self._window_began_at
        if self._answer_by is not None or not self._window_began_at or elapsed < self._policy.rate_seconds:
            return False
        came = self._body_bytes - self._window_body_bytes
        self._window_began_at, self._window_body_bytes = now, self._body_bytes
        return came < self._policy.min_bytes_per_second * elapsed
