"""What every reader of archives gives."""

from collections.abc import Callable
from functools import cached_property


class Member:
    """A regular file. Its content is read when it is first asked for, which has to be while the archive is at it."""

    def __init__(self, parts: tuple[str, ...], size_bytes: int, read: Callable[[], bytes]) -> None:
        self.parts = parts  # folders and file name as spelled in the archive
        self.size_bytes = size_bytes  # as the archive states it
        self._read = read

    @cached_property
    def content(self) -> bytes:
        """Of a file larger than any that is used it is one byte more than allowed. Raises ImportRejectedError."""
        return self._read()
