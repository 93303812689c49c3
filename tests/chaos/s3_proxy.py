"""A fault proxy between boto3 and an S3 server: every byte passes as it is until a fault is set."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from urllib.parse import urlsplit

from core.settings import Settings
from tests.chaos.http_messages import Request
from tests.chaos.peers import BUFFER_BYTES, LOST, Address, Peer
from tests.chaos.s3_exchange import Exchange
from tests.chaos.s3_faults import Fault
from tests.chaos.s3_switch import FaultSwitch


@contextmanager
def run_s3_proxy(settings: Settings) -> Iterator["S3Proxy"]:
    """Before the store that the settings name."""
    assert settings.s3_endpoint_url is not None
    proxy = S3Proxy(settings.s3_endpoint_url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.close()


class S3Proxy:
    """Listens on loopback on one port for its whole life, in a thread with a loop of its own."""

    def __init__(self, upstream_url: str) -> None:
        upstream = urlsplit(upstream_url)
        self._upstream = Address(upstream.hostname or "127.0.0.1", upstream.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._faults = FaultSwitch()
        self._closing = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._serve()), name="s3-proxy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def set_fault(self, fault: Fault | None) -> None:
        """Takes the place of the fault before it; None heals."""
        self._faults.set(fault)

    @property
    def hits(self) -> int:
        """Requests that the fault set last has hit, also once it is healed."""
        return len(self.hit_keys)

    @property
    def hit_keys(self) -> list[str]:
        """The key of each of these requests; "" where it concerned a whole bucket."""
        return self._faults.hit_keys

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._serve_client, sock=self._listener, limit=BUFFER_BYTES)
        await asyncio.to_thread(self._closing.wait)
        server.close()

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Peer(reader, writer)
        try:
            while await self._exchange(client):
                pass
            await client.close()
        except LOST:
            pass
        finally:
            client.reset()

    async def _exchange(self, client: Peer) -> bool:
        request = await Request.read(client.reader)
        return await Exchange(request, client, self._upstream, self._faults).run()
