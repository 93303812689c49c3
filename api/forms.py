"""Reads multipart/form-data as it comes in: no part is spooled, the caller decides where bytes go."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.errors import InvalidInputError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS = 1000  # many more than anybody needs; each costs far more to read than its bytes do


@dataclass(frozen=True)
class PartStarted:
    name: str
    filename: str | None
    content_type: str


@dataclass(frozen=True)
class PartBytes:
    content: bytes


@dataclass(frozen=True)
class PartEnded:
    pass


PartEvent = PartStarted | PartBytes | PartEnded


async def read_form(request: Request) -> AsyncIterator[PartEvent]:
    """The events of each part in the order sent; raises on a body that is no form or breaks off."""
    collector = _Collector()
    parser = MultipartParser(_find_boundary(request), collector.callbacks())
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            if collector.num_parts > MAX_PARTS:
                raise InvalidInputError("invalid_form", f"the form has more than {MAX_PARTS} parts")
            for event in collector.take():
                yield event
        parser.finalize()
    except MultipartParseError as exc:
        raise InvalidInputError("invalid_form", "the multipart body cannot be read", hint="check the client") from exc
    if not collector.ended:
        raise InvalidInputError("invalid_form", "the multipart body broke off", hint="send it again")


def _find_boundary(request: Request) -> bytes:
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise InvalidInputError("invalid_form", "the multipart body has no boundary", hint="let the client set it")
    return boundary


class _Collector:
    """Turns the parser's callbacks into events."""

    def __init__(self) -> None:
        self.ended = False
        self.num_parts = 0
        self._events: list[PartEvent] = []
        self._header_name = b""
        self._header_value = b""
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_piece,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_bytes,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def take(self) -> list[PartEvent]:
        events, self._events = self._events, []
        return events

    def _begin(self) -> None:
        self.num_parts += 1
        self._headers = {}

    def _header_field(self, raw: bytes, start: int, end: int) -> None:
        self._header_name += raw[start:end]

    def _header_piece(self, raw: bytes, start: int, end: int) -> None:
        self._header_value += raw[start:end]

    def _header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name = self._header_value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        filename = options.get(b"filename")
        self._events.append(
            PartStarted(
                name=options.get(b"name", b"").decode(errors="replace"),
                filename=None if filename is None else filename.decode(errors="replace"),
                content_type=self._headers.get(b"content-type", b"").decode(errors="replace"),
            )
        )

    def _part_bytes(self, raw: bytes, start: int, end: int) -> None:
        self._events.append(PartBytes(raw[start:end]))

    def _part_end(self) -> None:
        self._events.append(PartEnded())

    def _end(self) -> None:
        self.ended = True
