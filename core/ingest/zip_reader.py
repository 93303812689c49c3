"""Reads zip by its central directory, after checking that the file holds that and nothing else."""

import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from core.ingest.damage import translated
from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits
from core.ingest.member_names import decode_name, split_name
from core.ingest.members import Member
from core.ingest.meter import Meter
from core.ingest.zip_content import read_content
from core.ingest.zip_structure import check_structure, find_zip_end

ENCRYPTED = 0x1 | 0x40 | 0x2000
UTF8_NAME = 0x800
BUFFER_BYTES = 1024**2  # many small members at once


def read_zip(path: Path, limits: IngestLimits, meter: Meter) -> Iterator[Member]:
    """Raises BadZipFile and its like where the file is no whole zip."""
    most_bytes = limits.max_member_bytes + 1
    with zipfile.ZipFile(path) as archive, path.open("rb", buffering=BUFFER_BYTES) as file:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        for _ in infos:
            meter.count_member()
        check_structure(file, infos, end_at=find_zip_end(path), directory_at=archive.start_dir)
        for info in infos:
            parts = split_name(_decode_name(info))
            _check_kind(info)
            if not info.is_dir():
                name, packed, unpacked = "/".join(parts), info.compress_size, info.file_size
                meter.check_member(name, packed_bytes=packed, unpacked_bytes=unpacked)
                meter.count_bytes(min(unpacked, most_bytes))  # its content is held to that
                yield Member(parts, unpacked, partial(_read, file, info, most_bytes))


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


def _read(file: IO[bytes], info: zipfile.ZipInfo, most_bytes: int) -> bytes:
    with translated():
        return read_content(file, info, most_bytes)
