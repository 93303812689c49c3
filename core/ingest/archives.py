"""Archives as a stream of members: told by content, nothing extracted, every byte counted."""

import gzip
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import assert_never

from core.ingest.damage import translated
from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits
from core.ingest.members import Member
from core.ingest.meter import Meter
from core.ingest.tar_reader import BLOCK_BYTES, is_tar_header, read_tar
from core.ingest.zip_reader import read_zip
from core.ingest.zip_structure import find_zip_end
from core.ingest.zstd_stream import is_zstd, open_zstd

ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # with members, without
GZIP_SIGNATURE = b"\x1f\x8b\x08"


class ArchiveKind(StrEnum):
    ZIP = "zip"
    TAR = "tar"
    TAR_GZ = "tar.gz"
    TAR_ZST = "tar.zst"


def looks_like_archive(head: bytes) -> bool:
    """Whether the first 512 bytes of a file can begin an archive; cheap enough for the first look at an upload."""
    return detect_kind(head) is not None


def detect_kind(head: bytes) -> ArchiveKind | None:
    if is_tar_header(head):
        return ArchiveKind.TAR
    if head.startswith(ZIP_SIGNATURES):
        return ArchiveKind.ZIP
    if head.startswith(GZIP_SIGNATURE):
        return ArchiveKind.TAR_GZ
    return ArchiveKind.TAR_ZST if is_zstd(head) else None


def read_members(path: Path, limits: IngestLimits) -> Iterator[Member]:
    """Every regular file of the archive, one in memory at a time."""
    for member in _read_all(path, limits):
        if not member.parts:
            raise ImportRejectedError("archive_unsafe_name", "a file in the archive has no name")
        yield member


def _read_all(path: Path, limits: IngestLimits) -> Iterator[Member]:
    kind = detect_archive(path)
    meter = Meter(limits, path.stat().st_size)
    with translated():
        match kind:
            case ArchiveKind.ZIP:
                yield from read_zip(path, limits, meter)
            case ArchiveKind.TAR:
                with path.open("rb") as file:
                    yield from read_tar(file, limits, meter)
            case ArchiveKind.TAR_GZ:
                with gzip.open(path) as file:
                    yield from read_tar(file, limits, meter)
            case ArchiveKind.TAR_ZST:
                with path.open("rb") as file:
                    stream = open_zstd(file, max_window_bytes=limits.max_zstd_window_bytes)
                    yield from read_tar(stream, limits, meter)
            case _:
                assert_never(kind)


def detect_archive(path: Path) -> ArchiveKind:
    """Raises ImportRejectedError for what is none, or two at once."""
    with path.open("rb") as file:
        kind = detect_kind(file.read(BLOCK_BYTES))
    if kind is None:
        raise ImportRejectedError(
            "not_an_archive", "the file is no archive", hint="send a zip, tar, tar.gz or tar.zst of pictures"
        )
    if kind is not ArchiveKind.ZIP and find_zip_end(path) is not None:
        raise ImportRejectedError("archive_ambiguous", f"the file is a {kind} and a zip at once")
    return kind
