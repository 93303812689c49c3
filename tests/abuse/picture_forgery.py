"""Makes pictures that no library writes: chunk by chunk, and header by header."""

import struct
import zlib
from collections.abc import Sequence

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
Chunk = tuple[bytes, bytes]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def make_png(
    size: tuple[int, int],
    rows: bytes,
    *,
    depth: int = 8,
    colour: int = 2,
    interlaced: bool = False,
    before: Sequence[Chunk] = (),
    has_end: bool = True,
) -> bytes:
    """`rows` are the scan lines with their filter bytes, not yet deflated; `before` are chunks before them."""
    header = struct.pack(">2L5B", *size, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", header), *before, (b"IDAT", zlib.compress(rows)), *([(b"IEND", b"")] if has_end else [])]
    return PNG_SIGNATURE + b"".join(chunk(kind, content) for kind, content in chunks)


def insert_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Behind the header."""
    return png[:33] + chunk(kind, content) + png[33:]


def restate_png_size(png: bytes, width: int, height: int) -> bytes:
    header = struct.pack(">2L", width, height) + png[24:29]
    return PNG_SIGNATURE + chunk(b"IHDR", header) + png[33:]


def find_marker(jpeg: bytes, marker: int) -> int:
    return jpeg.index(bytes([0xFF, marker]))


def restate_jpeg_size(jpeg: bytes, width: int, height: int) -> bytes:
    at = find_marker(jpeg, 0xC0)
    return jpeg[: at + 5] + struct.pack(">2H", height, width) + jpeg[at + 9 :]


def drop_segments(jpeg: bytes, marker: int) -> bytes:
    while bytes([0xFF, marker]) in jpeg:
        at = find_marker(jpeg, marker)
        (size,) = struct.unpack_from(">H", jpeg, at + 2)
        jpeg = jpeg[:at] + jpeg[at + 2 + size :]
    return jpeg


def insert_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """Behind the start of the image."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def repeat_scans(progressive: bytes, times: int) -> bytes:
    """The last scan of a progressive JPEG again and again: each costs the decoder a walk over the whole picture."""
    at = progressive.rindex(b"\xff\xda")
    scan = progressive[at:-2]
    return progressive[:at] + scan * times + progressive[-2:]


def make_bmp(
    size: tuple[int, int], pixels: bytes, *, bits: int = 24, compression: int = 0, palette: bytes = b""
) -> bytes:
    """A negative height is a picture from the top down."""
    offset = 54 + len(palette)
    header = struct.pack("<L2l2H6L", 40, *size, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<LHHL", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def restate_gif_canvas(gif: bytes, width: int, height: int) -> bytes:
    return gif[:6] + struct.pack("<2H", width, height) + gif[10:]


def make_exif(orientation: int, *, more: bytes = b"") -> bytes:
    entry = struct.pack(">HHLHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + bytes(4) + more
