"""An internet in a box: names and public addresses of its own, and the real addresses of this host behind it."""

import ssl
import threading
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

import httpcore

from core.ingest.addresses import is_own, is_public
from core.ingest.connections import Network
from core.ingest.names import look_up_by_system

Options = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]


class Internet(httpcore.NetworkBackend):
    """Remembers what was looked up and dialled. Nothing leaves this host.

    `names` gives each name its answers, one a lookup, the last for ever; `servers` leads a public address to a port of
    loopback.
    """

    def __init__(self, names: Mapping[str, list[list[str]]], servers: Mapping[str, int]) -> None:
        self._names = names
        self._servers = servers
        self._dialer = httpcore.SyncBackend()
        self._lock = threading.Lock()
        self.looked_up: list[str] = []
        self.dialled: list[str] = []

    def as_network(self, ssl_context: ssl.SSLContext) -> Network:
        return Network(ssl_context, lookup=self.look_up, dialer=self)

    @property
    def inner_addresses(self) -> list[str]:
        """Those dialled that nobody may dial."""
        return [address for address in self.dialled if not is_public(ip_address(address))]

    def look_up(self, name: str) -> list[str]:
        key = name.removesuffix(".")
        with self._lock:
            asked_before = self.looked_up.count(key)
            self.looked_up.append(key)
        if key not in self._names:
            return look_up_by_system(name) if name == key else []
        answers = self._names[key]
        return answers[min(asked_before, len(answers) - 1)]

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Options | None = None,
    ) -> httpcore.NetworkStream:
        self.dialled.append(host)
        if host in self._servers:
            return self._dialer.connect_tcp("127.0.0.1", self._servers[host], timeout)
        if is_own(ip_address(host)):
            return self._dialer.connect_tcp(host, port, timeout, local_address, socket_options)
        raise httpcore.ConnectError("no such host in the box")
