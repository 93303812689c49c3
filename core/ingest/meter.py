"""Counts what comes out of an archive and stops it at the limits."""

from core.ingest.errors import ImportRejectedError
from core.ingest.limits import IngestLimits


class Meter:
    """One walk through one archive of `packed_bytes`."""

    def __init__(self, limits: IngestLimits, packed_bytes: int) -> None:
        self._limits = limits
        self._packed_bytes = packed_bytes
        self._unpacked_bytes = 0
        self._members = 0

    def count_member(self) -> None:
        self._members += 1
        if self._members > self._limits.max_members:
            raise ImportRejectedError(
                "archive_too_many_members", f"the archive has more than {self._limits.max_members} members"
            )

    def count_bytes(self, count: int) -> None:
        self._unpacked_bytes += count
        if self._unpacked_bytes > self._limits.max_unpacked_bytes:
            raise ImportRejectedError(
                "archive_too_large", f"the archive unpacks to more than {self._limits.max_unpacked_bytes} bytes"
            )
        if self._unpacked_bytes > max(self._limits.ratio_free_bytes, self._limits.max_ratio * self._packed_bytes):
            raise _bomb("the archive", self._limits.max_ratio)

    def check_member(self, name: str, *, packed_bytes: int, unpacked_bytes: int) -> None:
        """By the sizes that an archive states of a member; its reader holds it to them."""
        allowed = max(self._limits.member_ratio_free_bytes, self._limits.max_member_ratio * packed_bytes)
        if unpacked_bytes > allowed:
            raise _bomb(f"'{name}' in the archive", self._limits.max_member_ratio)


def _bomb(what: str, ratio: float) -> ImportRejectedError:
    return ImportRejectedError(
        "archive_bomb",
        f"{what} unpacks to more than {ratio:g} times its size",
        hint="pictures are compressed already: archive them as JPEG, PNG or WebP",
    )
