"""Reads zip by its central directory, after checking that the members do not overlap."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits
from core.ingest.member_names import decode_name, split_name
from core.ingest.members import Member
from core.ingest.meter import Meter
from core.ingest.zip_content import read_content

END_SIGNATURE = b"PK\x05\x06"
END_BYTES = 22
MAX_COMMENT_BYTES = 65_535
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8_NAME = 0x800


def find_zip_end(path: Path) -> int | None:
    """Where the end record stands whose comment reaches exactly to the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = max(0, size - END_BYTES - MAX_COMMENT_BYTES)
        file.seek(start)
        tail = file.read()
    at = tail.rfind(END_SIGNATURE)
    while at >= 0:
        if at + END_BYTES <= len(tail) == at + END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little"):
            return start + at
        at = tail.rfind(END_SIGNATURE, 0, at)
    return None


def read_zip(path: Path, limits: IngestLimits, meter: Meter) -> Iterator[Member]:
    """Raises BadZipFile and its like where the file is no whole zip."""
    if find_zip_end(path) is None:
        raise zipfile.BadZipFile("no end, or more follows it")
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        for _ in infos:
            meter.count_member()
        _check_places(file, infos, archive.start_dir)
        for info in infos:
            parts = split_name(_decode_name(info))
            _check_kind(info)
            if not info.is_dir():
                yield Member(parts, _read(file, info, limits, meter))


def _check_places(file: IO[bytes], infos: list[zipfile.ZipInfo], directory_offset: int) -> None:
    end = 0
    for info in infos:
        if info.header_offset < end or (end == 0 and info.header_offset > 0):
            raise zipfile.BadZipFile("members overlap, or something stands before them")
        file.seek(info.header_offset)
        header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        end = info.header_offset + LOCAL_HEADER.size + header[9] + header[10] + info.compress_size
    if end > directory_offset:
        raise zipfile.BadZipFile("a member reaches into the directory")


def _decode_name(info: zipfile.ZipInfo) -> str:
    """Without the UTF-8 flag the standard library has read the bytes as cp437; many tools write UTF-8 all the same."""
    return info.orig_filename if info.flag_bits & UTF8_NAME else decode_name(info.orig_filename.encode("cp437"))


def _check_kind(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & ENCRYPTED:
        raise ImportRejectedError("archive_encrypted", "the archive is encrypted", hint="send it without a password")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ImportRejectedError(
            "archive_compression_unsupported", "the zip uses a rare compression", hint="use deflate, or none"
        )
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ImportRejectedError(
            "archive_special_member",
            f"'{info.filename}' in the archive is no regular file",
            hint="links and devices are not read: archive the files themselves",
        )


def _read(file: IO[bytes], info: zipfile.ZipInfo, limits: IngestLimits, meter: Meter) -> bytes:
    content = read_content(file, info, limits.image.max_bytes + 1)
    meter.count_bytes(len(content))
    return content
