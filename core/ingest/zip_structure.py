"""Checks that every byte of a zip belongs to what its directory says, so that no two readers can see two archives."""

import struct
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipInfo

END = struct.Struct("<4s4H2LH")
END_SIGNATURE = b"PK\x05\x06"
MAX_COMMENT_BYTES = 65_535
LOCATOR64 = struct.Struct("<4sLQL")
LOCATOR64_SIGNATURE = b"PK\x06\x07"
END64 = struct.Struct("<4sQ2H2L4Q")
END64_SIGNATURE = b"PK\x06\x06"
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
LOCAL_SIGNATURE = b"PK\x03\x04"
ENCRYPTED, HAS_DESCRIPTOR = 0x1, 0x8
DESCRIPTOR_BYTES = frozenset({12, 16, 20, 24})  # with or without a signature, sizes of 4 or 8 bytes
IN_ZIP64, IN_ZIP64_16 = 0xFFFF_FFFF, 0xFFFF  # the value stands elsewhere


def find_zip_end(path: Path) -> int | None:
    """Where the end record stands whose comment reaches exactly to the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = max(0, size - END.size - MAX_COMMENT_BYTES)
        file.seek(start)
        tail = file.read()
    at = tail.rfind(END_SIGNATURE)
    while at >= 0:
        if at + END.size <= len(tail) == at + END.size + int.from_bytes(tail[at + 20 : at + 22], "little"):
            return start + at
        at = tail.rfind(END_SIGNATURE, 0, at)
    return None


def check_structure(file: IO[bytes], infos: list[ZipInfo], *, end_at: int | None, directory_at: int) -> None:
    """`infos` by their offset. Raises BadZipFile."""
    if end_at is None:
        raise BadZipFile("no end, or more follows it")
    _check_counts(file, end_at, len(infos))
    end = 0
    has_descriptor = False
    for info in infos:
        _check_gap(info.header_offset - end, has_descriptor)
        end = _check_header(file, info)
        has_descriptor = bool(info.flag_bits & HAS_DESCRIPTOR)
    _check_gap(directory_at - end, has_descriptor)


def _check_counts(file: IO[bytes], end_at: int, num_members: int) -> None:
    """The standard library reads the directory by its size, whatever the counts say."""
    file.seek(end_at)
    _, disk, directory_disk, on_disk, total, *_ = END.unpack(file.read(END.size))
    found64 = _count_in_zip64(file, end_at)
    allowed = {num_members} if found64 is None else {num_members, IN_ZIP64_16}
    if not {on_disk, total} <= allowed or found64 not in {None, num_members}:
        raise BadZipFile("another number of members than stated")
    if not {disk, directory_disk} <= {0, IN_ZIP64_16}:
        raise BadZipFile("a part of several")


def _count_in_zip64(file: IO[bytes], end_at: int) -> int | None:
    """Older standard libraries take the record before the locator, wherever that points to (CVE-2025-8291)."""
    file.seek(max(0, end_at - LOCATOR64.size))
    locator = file.read(LOCATOR64.size)
    if end_at < LOCATOR64.size + END64.size or not locator.startswith(LOCATOR64_SIGNATURE):
        return None
    record_at = end_at - LOCATOR64.size - END64.size
    file.seek(record_at)
    signature, _, _, _, _, _, on_disk, total, _, _ = END64.unpack(file.read(END64.size))
    if LOCATOR64.unpack(locator)[2] != record_at or signature != END64_SIGNATURE or on_disk != total:
        raise BadZipFile("the zip64 locator points elsewhere")
    return int(total)


def _check_gap(num_bytes: int, has_descriptor: bool) -> None:
    if num_bytes not in (DESCRIPTOR_BYTES if has_descriptor else {0}):
        raise BadZipFile("members overlap, or something stands between them")


def _check_header(file: IO[bytes], info: ZipInfo) -> int:
    """Returns where its content ends."""
    file.seek(info.header_offset)
    signature, _, flags, method, _, _, _, packed, unpacked, name_bytes, extra_bytes = LOCAL_HEADER.unpack(
        file.read(LOCAL_HEADER.size)
    )
    sizes = set() if flags & HAS_DESCRIPTOR else {(packed, info.compress_size), (unpacked, info.file_size)}
    if (
        signature != LOCAL_SIGNATURE
        or method != info.compress_type
        or (flags ^ info.flag_bits) & (ENCRYPTED | HAS_DESCRIPTOR)
        or any(local not in {stated, IN_ZIP64} for local, stated in sizes)
    ):
        raise BadZipFile("a member is not what the directory says")
    content_at: int = info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes
    return content_at + info.compress_size
