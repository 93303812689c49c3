"""A keep-alive connection that sends pictures, of bare streams.

The load shares its cores with the servers: what a real HTTP client took for itself would be missing there.
"""

import asyncio
import re
from typing import NamedTuple
from urllib.parse import urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Answer(NamedTuple):
    status: int
    retry_after_seconds: float | None
    is_last: bool  # the server closes the connection


class Connection:
    """One request after the other; opened by the first, and anew when the server has closed it."""

    def __init__(self) -> None:
        self._streams: Streams | None = None

    async def post(self, url: str, secret: str, picture: bytes) -> Answer:
        """After an error or a cancellation the connection is closed."""
        parts = urlsplit(url)
        try:
            reader, writer = await self._open(parts.hostname, parts.port)
            writer.write(_make_head(parts.netloc, parts.path, secret, len(picture)) + picture)
            answer = await _read_answer(reader)
        except BaseException:
            self.close()
            raise
        if answer.is_last:
            self.close()
        return answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None

    async def open(self, url: str) -> None:
        parts = urlsplit(url)
        await self._open(parts.hostname, parts.port)

    async def _open(self, host: str | None, port: int | None) -> Streams:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(host, port)
        return self._streams


def _make_head(host: str, path: str, secret: str, length: int) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {secret}",
        "Content-Type: image/jpeg",
        f"Content-Length: {length}",
        *("", ""),
    ]
    return "\r\n".join(lines).encode()


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    status, length, retry_after = _STATUS.match(head), _LENGTH.search(head), _RETRY_AFTER.search(head)
    if status is None or length is None:
        raise ConnectionError(f"no answer of a known form: {head[:80]!r}")
    await reader.readexactly(int(length[1]))
    retry_after_seconds = None if retry_after is None else float(retry_after[1])
    return Answer(int(status[1]), retry_after_seconds, is_last=_CLOSE.search(head) is not None)
