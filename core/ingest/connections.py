"""Connections that go to judged addresses only, and that nobody can hold open for longer than allowed."""

import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import httpcore

from core.ingest.destinations import find_destinations
from core.ingest.errors import FetchError, FetchInterruptedError
from core.ingest.names import Lookup, look_up_by_system
from core.ingest.url_policy import UrlPolicy
from core.ingest.watch import SLICE_SECONDS, Watch

Options = Iterable[
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
]  # as httpcore names socket options


@dataclass(frozen=True)
class Network:
    """Where names, connections and trust come from. Costs 0.1 s to make, for the authorities are read."""

    ssl_context: ssl.SSLContext
    lookup: Lookup = look_up_by_system
    dialer: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)


def make_network(policy: UrlPolicy) -> Network:
    """The system's. Certificates are checked: their chain and their name."""
    context = httpcore.default_ssl_context()
    if policy.ca_file is not None:
        context.load_verify_locations(policy.ca_file)
    return Network(context)


class GuardedBackend(httpcore.NetworkBackend):
    """Resolves a name once, judges every address of it, and connects to those alone.

    Whatever stands in the way, an inner address, an unknown name, a closed port or a filter, looks the same and takes
    the same time: nobody can map a network by it.
    """

    def __init__(self, policy: UrlPolicy, watch: Watch, network: Network) -> None:
        self._policy = policy
        self._watch = watch
        self._network = network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.NetworkStream:
        give_up_at = time.monotonic() + (timeout or 0.0)
        stream = self._try_to_connect(host, port, give_up_at, local_address, socket_options)
        if stream is None:
            self._watch.wait_until(give_up_at)
            raise FetchInterruptedError(
                "url_unreachable",
                "the server of the URL cannot be reached",
                hint="check the spelling; for a server without a public address ask the operator to list it",
            )
        return _WatchedStream(stream, self._watch)

    def _try_to_connect(
        self, host: str, port: int, give_up_at: float, local_address: str | None, options: Options | None
    ) -> httpcore.NetworkStream | None:
        """One address after the other: all of them are judged."""
        for address in find_destinations(host, port, self._policy, self._network.lookup, give_up_at - time.monotonic()):
            left = give_up_at - time.monotonic()
            if left > 0:
                with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                    return self._network.dialer.connect_tcp(str(address), port, left, local_address, options)
        return None


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
                content = self._stream.read(max_bytes, SLICE_SECONDS)
            except httpcore.ReadTimeout:
                continue
            self._watch.count_received(len(content))
            return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._watch.expect_answer()
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        except httpcore.ConnectError as exc:
            raise FetchError(
                "url_tls_failed",
                "the server of the URL has no valid certificate for its name, or speaks no TLS",
                hint="open the URL in a browser",
            ) from exc
        return _WatchedStream(stream, self._watch)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
