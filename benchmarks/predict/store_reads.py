"""A proxy before the object store that counts how often one object is read: the store has no counter."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

CHUNK_BYTES = 2**16


class StoreReads:
    """Passes every byte on as it is; listens on loopback in a thread of its own."""

    def __init__(self, upstream_url: str, path: str) -> None:
        upstream = urlsplit(upstream_url)
        self._address = (upstream.hostname, upstream.port)
        self._wanted = f"GET {path} ".encode()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._closing = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.count = 0
        self.read_bytes = 0  # of all objects, and heads of answers

    async def serve(self) -> None:
        server = await asyncio.start_server(self._join, sock=self._listener)
        await asyncio.to_thread(self._closing.wait)
        server.close()

    def close(self) -> None:
        self._closing.set()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._address)
        with suppress(OSError):
            await asyncio.gather(self._pass_requests(reader, up_writer), self._pass_answers(up_reader, writer))

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        end = b""  # of the piece before: a line may begin in one and end in the next
        while chunk := await reader.read(CHUNK_BYTES):
            self.count += (end + chunk).count(self._wanted)
            end = (end + chunk)[-len(self._wanted) + 1 :]
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def _pass_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            self.read_bytes += len(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.close()


@contextmanager
def count_reads(upstream_url: str, path: str) -> Iterator[StoreReads]:
    reads = StoreReads(upstream_url, path)
    thread = threading.Thread(target=lambda: asyncio.run(reads.serve()), name="store-reads")
    thread.start()
    try:
        yield reads
    finally:
        reads.close()
        thread.join()
