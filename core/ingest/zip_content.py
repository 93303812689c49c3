"""Reads the content of a zip's member. The standard library checks no more, and takes five times as long to start."""

import struct
import zlib
from typing import IO
from zipfile import ZIP_STORED, BadZipFile, ZipInfo

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
UTF8_NAME = 0x800
CHUNK_BYTES = 1024**2
RAW_DEFLATE = -15


def read_content(file: IO[bytes], info: ZipInfo, max_bytes: int) -> bytes:
    """At most `max_bytes` of it. Raises BadZipFile, zlib.error or struct.error where it is not what is stated."""
    _seek(file, info)
    content = (
        _read_stored(file, info, max_bytes) if info.compress_type == ZIP_STORED else _inflate(file, info, max_bytes)
    )
    if len(content) < min(info.file_size, max_bytes):
        raise BadZipFile("a member is shorter than stated")
    if len(content) < max_bytes and (len(content) != info.file_size or zlib.crc32(content) != info.CRC):
        raise BadZipFile("a member has another length or checksum than stated")
    return content


def _seek(file: IO[bytes], info: ZipInfo) -> None:
    """To the content, behind a header that names what the directory names."""
    file.seek(info.header_offset)
    _, _, flags, *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    name = file.read(name_bytes).decode("utf-8" if flags & UTF8_NAME else "cp437")
    if name != info.orig_filename:
        raise BadZipFile("a member's header and the directory differ in its name")
    file.seek(extra_bytes, 1)


def _read_stored(file: IO[bytes], info: ZipInfo, max_bytes: int) -> bytes:
    if info.compress_size != info.file_size:
        raise BadZipFile("a stored member has two sizes")
    return file.read(min(info.compress_size, max_bytes))


def _inflate(file: IO[bytes], info: ZipInfo, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj(RAW_DEFLATE)
    parts: list[bytes] = []
    missing, packed = max_bytes, info.compress_size
    while missing > 0 and not inflater.eof and (packed > 0 or inflater.unconsumed_tail):
        chunk = inflater.unconsumed_tail or file.read(min(packed, CHUNK_BYTES))
        packed -= 0 if inflater.unconsumed_tail else len(chunk)
        if not chunk:
            raise EOFError("cut off")
        parts.append(inflater.decompress(chunk, missing))
        missing -= len(parts[-1])
    if missing > 0 and not inflater.eof:
        raise BadZipFile("a member's content does not end")
    return b"".join(parts)
