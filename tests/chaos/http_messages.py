"""HTTP/1.1 as bytes that pass: heads are understood as far as a proxy must, bodies are cut into pieces."""

from asyncio import StreamReader
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

PieceSize = Callable[[], int]


@dataclass(frozen=True, eq=False)
class Head:
    raw: bytes
    words: list[str]  # of the first line
    headers: dict[str, str]  # names in lower case

    @classmethod
    async def read(cls, reader: StreamReader) -> Self:
        raw = await reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return cls(raw, first.split(" "), {name.lower(): value.strip() for name, _, value in pairs})

    @property
    def content_length(self) -> int | None:
        value = self.headers.get("content-length")
        return None if value is None else int(value)

    @property
    def is_chunked(self) -> bool:
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


class Request(Head):
    @property
    def method(self) -> str:
        return self.words[0]

    @property
    def key(self) -> str:
        """The path without its bucket."""
        return unquote(self.words[1].partition("?")[0]).lstrip("/").partition("/")[2]

    @property
    def expects_continue(self) -> bool:
        return self.headers.get("expect", "").lower() == "100-continue"

    def read_body(self, reader: StreamReader, piece_size: PieceSize) -> AsyncIterator[bytes]:
        if self.is_chunked:
            return _read_chunks(reader, piece_size)
        return read_sized(reader, self.content_length or 0, piece_size)


class Answer(Head):
    @property
    def status(self) -> int:
        return int(self.words[1])

    @property
    def is_interim(self) -> bool:
        return self.status < 200

    @property
    def size_bytes(self) -> int:
        return self.content_length or 0

    @property
    def has_object(self) -> bool:
        return self.status in {200, 206} and bool(self.content_length)

    @property
    def ends_by_close(self) -> bool:
        return self.closes or (self.content_length is None and not self.is_chunked and self.status not in {204, 304})

    def read_body(self, reader: StreamReader, piece_size: PieceSize, *, method: str) -> AsyncIterator[bytes]:
        if method == "HEAD" or self.status in {204, 304}:
            return read_sized(reader, 0, piece_size)
        if self.is_chunked:
            return _read_chunks(reader, piece_size)
        if self.content_length is None:
            return _read_to_end(reader, piece_size)
        return read_sized(reader, self.content_length, piece_size)


def make_error_answer(status: int, code: str, *, method: str) -> bytes:
    """As S3 words it; the last one of its connection."""
    content = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
    head = (
        f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return (head if method == "HEAD" else head + content).encode()


async def read_sized(reader: StreamReader, size_bytes: int, piece_size: PieceSize) -> AsyncIterator[bytes]:
    while size_bytes > 0:
        piece = await reader.read(min(size_bytes, piece_size()))
        if not piece:
            raise EOFError
        size_bytes -= len(piece)
        yield piece


async def _read_chunks(reader: StreamReader, piece_size: PieceSize) -> AsyncIterator[bytes]:
    """With their framing; trailers end by an empty line as chunks do."""
    while True:
        line = await reader.readuntil(b"\r\n")
        yield line
        size_bytes = int(line.partition(b";")[0], 16)
        if size_bytes == 0:
            break
        async for piece in read_sized(reader, size_bytes + len(b"\r\n"), piece_size):
            yield piece
    while line != b"\r\n":
        line = await reader.readuntil(b"\r\n")
        yield line


async def _read_to_end(reader: StreamReader, piece_size: PieceSize) -> AsyncIterator[bytes]:
    while piece := await reader.read(piece_size()):
        yield piece
