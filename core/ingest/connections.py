"""Connections that go to judged addresses only, and that nobody can hold open for longer than allowed."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address

import httpcore

from core.ingest.addresses import is_public
from core.ingest.errors import FetchError, FetchInterruptedError, IngestStoppedError
from core.ingest.urls import UrlPolicy

SLICE_SECONDS = 0.5  # how soon a waiting read hears that it has to stop
Options = Iterable[
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
]  # as httpcore names socket options


class Watch:
    """The clocks of one fetch, redirects included."""

    def __init__(self, policy: UrlPolicy, should_stop: Callable[[], bool]) -> None:
        self._policy = policy
        self._should_stop = should_stop
        self._ends_at = time.monotonic() + policy.total_seconds
        self._answer_by = 0.0
        self._is_answered = True

    def expect_answer(self) -> None:
        """Called before each request: its headers have to be there in time, however slowly they drip."""
        self._answer_by = time.monotonic() + self._policy.first_byte_seconds
        self._is_answered = False

    def answered(self) -> None:
        self._is_answered = True

    def check(self, *, waiting_since: float, idle_seconds: float) -> None:
        now = time.monotonic()
        if self._should_stop():
            raise IngestStoppedError
        is_late = not self._is_answered and now > self._answer_by
        if now > self._ends_at:
            raise FetchError("url_timeout", "the server is too slow", hint="upload the file instead")
        if is_late or now - waiting_since > idle_seconds:
            raise FetchInterruptedError("url_timeout", "the server is too slow", hint="try again, or upload the file")


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves a name once, judges every address of it, and connects to one of those."""

    def __init__(self, policy: UrlPolicy, watch: Watch) -> None:
        self._policy = policy
        self._watch = watch
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.NetworkStream:
        addresses = resolve(host, port, self._policy.connect_seconds)
        if not self._policy.allows(host) and not all(is_public(ip_address(address)) for address in addresses):
            raise FetchError("url_not_allowed", "the URL points to a private address")
        stream = self._backend.connect_tcp(addresses[0], port, timeout, local_address, socket_options)
        return _WatchedStream(stream, self._watch)


def resolve(host: str, port: int, timeout_seconds: float) -> list[str]:
    """IPv4 first. In a thread of its own, for the system's resolver has no time-out."""
    found: list[str] = []

    def look_up() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(str(info[4][0]) for info in sorted(infos, key=lambda info: info[0] != socket.AF_INET))

    thread = threading.Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    if not found:
        raise FetchInterruptedError("url_unreachable", "the host of the URL is not found", hint="check its spelling")
    return list(found)


class _WatchedStream(httpcore.NetworkStream):
    """Reads in short slices, so that the watch is asked often."""

    def __init__(self, stream: httpcore.NetworkStream, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        waiting_since = time.monotonic()
        while True:
            self._watch.check(waiting_since=waiting_since, idle_seconds=timeout or 0.0)
            try:
                return self._stream.read(max_bytes, SLICE_SECONDS)
            except httpcore.ReadTimeout:
                continue

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _WatchedStream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._watch)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
