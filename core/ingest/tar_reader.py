"""Reads tar strictly: ustar, GNU and pax names, regular files and folders alone.

The standard library's reader takes a damaged header for the end, and before 3.11.14 loops on a negative size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits
from core.ingest.member_names import decode_name, split_name
from core.ingest.members import Member
from core.ingest.meter import Meter

BLOCK_BYTES = 512
SKIP_BYTES = 1024**2
MAX_EXTENSION_BYTES = 1024**2  # of a long name or a pax record
ZEROS = bytes(BLOCK_BYTES)
REGULAR = (b"0", b"\0", b"7")
FOLDER = b"5"
PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = b"x", b"g", b"L", b"K"


class ByteStream(Protocol):
    """A plain file, or a stream that inflates one."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Header:
    name: bytes
    size_bytes: int
    kind: bytes


def is_tar_header(block: bytes) -> bool:
    """Whether the checksum of the block is that of a header."""
    if len(block) < BLOCK_BYTES or block[0] == 0:
        return False
    header = block[:BLOCK_BYTES]
    try:
        stated = _parse_octal(header[148:156])
    except ValueError:
        return False
    return stated == sum(header[:148]) + sum(b" " * 8) + sum(header[156:])


def read_tar(stream: ByteStream, limits: IngestLimits, meter: Meter) -> Iterator[Member]:
    """Raises ValueError or EOFError where the stream is no whole tar."""
    return _TarReader(stream, limits, meter).read()


class _TarReader:
    def __init__(self, stream: ByteStream, limits: IngestLimits, meter: Meter) -> None:
        self._stream = stream
        self._max_bytes = limits.max_member_bytes
        self._meter = meter
        self._long_name: bytes | None = None

    def read(self) -> Iterator[Member]:
        while (header := self._read_header()) is not None:
            self._meter.count_member()
            if header.kind in {PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK}:
                self._take_extension(header)
                continue
            parts = split_name(decode_name(self._long_name or header.name))
            self._long_name = None
            if header.kind == FOLDER or (header.kind in REGULAR and header.name.endswith(b"/")):
                continue  # the size of a folder is a hint: no content follows
            if header.kind not in REGULAR:
                raise _special(f"'{'/'.join(parts)}'")
            content = self._read_content(header.size_bytes)
            yield Member(parts, header.size_bytes, partial(bytes, content))
        self._read_rest()

    def _read_header(self) -> _Header | None:
        block = self._read_exactly(BLOCK_BYTES)
        if block == ZEROS:
            return None
        if not is_tar_header(block):
            raise ValueError("damaged header")
        return _parse_header(block)

    def _take_extension(self, header: _Header) -> None:
        if header.size_bytes > MAX_EXTENSION_BYTES:
            raise ValueError("too long an extension")
        content = self._read_exactly(header.size_bytes)
        self._read_exactly(-header.size_bytes % BLOCK_BYTES)
        if header.kind == LONG_NAME:
            self._long_name = content.rstrip(b"\0")
        elif header.kind == PAX:
            self._long_name = _read_pax_path(content) or self._long_name
        elif header.kind == PAX_GLOBAL and _read_pax_path(content):
            raise ValueError("one name for all members")

    def _read_content(self, size_bytes: int) -> bytes:
        content = self._read_exactly(min(size_bytes, self._max_bytes + 1))
        left = size_bytes - len(content) + (-size_bytes % BLOCK_BYTES)
        while left > 0:
            left -= len(self._read_exactly(min(left, SKIP_BYTES)))
        return content

    def _read_exactly(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._meter.count_bytes(len(content))
        if len(content) < size:
            raise EOFError("cut off")
        return content

    def _read_rest(self) -> None:
        """Only padding may follow the end; of a gzip stream this checks the checksum too."""
        while rest := self._stream.read(SKIP_BYTES):
            self._meter.count_bytes(len(rest))
            if rest.strip(b"\0"):
                raise ValueError("more follows its end")


def _parse_header(block: bytes) -> _Header:
    name = block[:100].rstrip(b"\0")
    prefix = block[345:500].rstrip(b"\0")
    is_ustar = block[257:263] == b"ustar\0"  # GNU keeps other things where ustar has a prefix
    full_name = prefix + b"/" + name if is_ustar and prefix else name
    return _Header(name=full_name, size_bytes=_parse_octal(block[124:136]), kind=block[156:157])


def _parse_octal(field: bytes) -> int:
    """Raises ValueError for base 256, which only sizes above 8 GiB and negative ones need."""
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if digits.strip(b"01234567"):
        raise ValueError("not octal")
    return int(digits or b"0", 8)


def _read_pax_path(content: bytes) -> bytes | None:
    path = None
    while content:
        length_text, _ = content.split(b" ", 1)
        length = int(length_text) if length_text.isdigit() and len(length_text) < 8 else 0
        if not len(length_text) < length <= len(content) or content[length - 1 : length] != b"\n":
            raise ValueError("damaged pax record")
        key, value = content[len(length_text) + 1 : length - 1].split(b"=", 1)
        if key.startswith(b"GNU.sparse."):
            raise _special("a sparse file")
        if key == b"size":
            raise ValueError("two sizes for one member")
        if key == b"path":
            path = value
        content = content[length:]
    return path


def _special(name: str) -> ImportRejectedError:
    return ImportRejectedError(
        "archive_special_member",
        f"{name} in the archive is no regular file",
        hint="links, devices and sparse files are not read: archive the files themselves (tar --dereference)",
    )
