"""Opens a zstd stream, after a walk over its frames: the library takes a stream that is cut off for one that ends."""

from typing import BinaryIO

import zstandard

from core.ingest.errors import ImportRejectedError
from core.ingest.tar_reader import ByteStream

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGIC = b"\x2a\x4d\x18"  # behind a byte from 0x50 to 0x5f
MAX_HEADER_BYTES = 18
CHECKSUM_BYTES = 4
RLE_BLOCK, RESERVED_BLOCK = 1, 3


def is_zstd(head: bytes) -> bool:
    """Parallel writers begin with a skippable frame."""
    return head.startswith(MAGIC) or _is_skippable(head)


def open_zstd(file: BinaryIO, *, max_window_bytes: int) -> ByteStream:
    """Raises EOFError, ValueError or ZstdError where the file is no whole sequence of frames."""
    while _skip_frame(file, max_window_bytes):
        pass
    file.seek(0)
    decompressor = zstandard.ZstdDecompressor(max_window_size=max_window_bytes)
    return decompressor.stream_reader(file, read_across_frames=True, closefd=False)


def _skip_frame(file: BinaryIO, max_window_bytes: int) -> bool:
    """False at the end of the file."""
    start = file.tell()
    head = file.read(MAX_HEADER_BYTES)
    if not head:
        return False
    if _is_skippable(head):
        _skip(file, start + 8, int.from_bytes(head[4:8], "little"))
        return True
    parameters = zstandard.get_frame_parameters(head)
    if parameters.window_size > max_window_bytes or parameters.dict_id:
        raise ImportRejectedError(
            "archive_compression_unsupported",
            f"the zstd stream needs a dictionary, or a window of more than {max_window_bytes} bytes",
            hint="compress it without --long, --ultra and -D",
        )
    file.seek(start + zstandard.frame_header_size(head))
    _skip_blocks(file)
    _skip(file, file.tell(), CHECKSUM_BYTES if parameters.has_checksum else 0)
    return True


def _skip_blocks(file: BinaryIO) -> None:
    is_last = 0
    while not is_last:
        header = file.read(3)
        if len(header) < 3:
            raise EOFError("cut off")
        number = int.from_bytes(header, "little")
        is_last, kind, size = number & 1, number >> 1 & 3, number >> 3
        if kind == RESERVED_BLOCK:
            raise ValueError("damaged block")
        _skip(file, file.tell(), 1 if kind == RLE_BLOCK else size)


def _skip(file: BinaryIO, start: int, count: int) -> None:
    """Reads the last byte, for a seek goes behind the end of a file."""
    if count:
        file.seek(start + count - 1)
        if not file.read(1):
            raise EOFError("cut off")


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == SKIPPABLE_MAGIC and 0x50 <= head[0] <= 0x5F
