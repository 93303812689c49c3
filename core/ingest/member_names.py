"""Refuses the names in an archive that no honest one has. Names never become paths; this is the second net."""

import re
import unicodedata

from core.ingest.errors import ImportRejectedError

MAX_PART_BYTES = 255
MAX_NAME_BYTES = 1024
DRIVE = re.compile(r"[A-Za-z]:")
BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def decode_name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise ImportRejectedError(
            "archive_unsafe_name",
            f"the name {raw[:100]!r} is not UTF-8",
            hint="make the archive with a tool that writes UTF-8 names",
        ) from exc


def split_name(name: str) -> tuple[str, ...]:
    """The folders and the file of a member's name, as they are spelled there; nothing for the root itself."""
    if name.startswith("/") or DRIVE.match(name) or "\\" in name:
        raise _unsafe(name, "is absolute or has a backslash")
    if has_control_characters(name):
        raise _unsafe(name, "has control characters")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise _unsafe(name, "leads out of the archive")
    if len(name.encode()) > MAX_NAME_BYTES or any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise _unsafe(name[:100], "is too long")
    return parts


def has_control_characters(name: str) -> bool:
    is_plain = name.isascii() and name.isprintable()  # told in a hundredth of the time
    return not is_plain and any(unicodedata.category(char) in {"Cc", "Cs"} or char in BIDI_CONTROLS for char in name)


def _unsafe(name: str, why: str) -> ImportRejectedError:
    return ImportRejectedError(
        "archive_unsafe_name",
        f"the name {name!r} in the archive {why}",
        hint="make the archive from inside the folder that holds the classes",
    )
