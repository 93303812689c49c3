"""What every reader of archives gives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """A regular file. Of one larger than any that is used, `content` holds one byte more than allowed."""

    parts: tuple[str, ...]  # folders and file name as spelled in the archive
    content: bytes
