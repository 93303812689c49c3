"""What the readers of archives raise on damaged bytes, in our words."""

import errno
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from zipfile import BadZipFile

from zstandard import ZstdError

from core.ingest.errors import ImportRejectedError

ZLIB_OUT_OF_MEMORY = "Error -4 "  # Z_MEM_ERROR; the module raises no MemoryError for it
ZSTD_OUT_OF_MEMORY = "Allocation error"  # likewise
VENDOR_ERRORS = (
    *(BadZipFile, zlib.error, ZstdError, struct.error),
    *(EOFError, OSError, ValueError, RuntimeError, LookupError),
)


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except VENDOR_ERRORS as exc:
        if _is_out_of_memory(exc):
            raise MemoryError from exc
        raise ImportRejectedError(
            "archive_damaged", "the archive is damaged or cut off", hint="make and send it again"
        ) from exc


def _is_out_of_memory(error: Exception) -> bool:
    match error:
        case OSError():
            return error.errno == errno.ENOMEM
        case zlib.error():
            return str(error).startswith(ZLIB_OUT_OF_MEMORY)
        case ZstdError():
            return ZSTD_OUT_OF_MEMORY in str(error)
        case _:
            return False
