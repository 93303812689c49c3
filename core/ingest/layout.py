"""What both layouts have in common: places, names, and what is said of what was recognised."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict

from core.dataset_index import Split
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import FindingCode
from core.ingest.member_names import MAX_PART_BYTES, has_control_characters

Parts = tuple[str, ...]

IGNORED_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "icon\r"})
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
SPLITS: tuple[Split, ...] = ("train", "val", "test")
FORMULA = re.compile(r"\s*([=@]|[+-](?![\d.,]*$))")  # a spreadsheet runs it; signed numbers are no formulas


@dataclass(frozen=True)
class Place:
    class_name: str  # NFC
    split: Split


class Recognised(BaseModel):
    """How the archive was read, for programs; `Layout.describe` says it in words."""

    model_config = ConfigDict(frozen=True)

    layout: Literal["class_folders", "labels_file"]
    wrapping_folder: str | None
    labels_file: str | None
    given_splits: tuple[Split, ...]  # none where they are drawn


class Layout(Protocol):
    """The rule that tells a picture's class and split from its path."""

    @property
    def classes(self) -> tuple[str, ...]:
        """By code point; a label is an index into it."""
        ...

    @property
    def labels_file(self) -> Parts | None:
        """As spelled in the archive."""
        ...

    def locate(self, parts: Parts) -> Place | None:
        """None for what lies outside of every class."""
        ...

    def explain_outside(self) -> tuple[FindingCode, str]:
        """Why `locate` gives None."""
        ...

    def describe(self) -> str: ...

    def recognised(self) -> Recognised: ...


def normalise(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def is_ignored(parts: Parts) -> bool:
    """Hidden and system files, wherever they lie."""
    return any(part.startswith(".") or part.casefold() in IGNORED_NAMES for part in parts)


def find_name_fault(name: str) -> str | None:
    """What is wrong with the name of a class."""
    if not name.strip(" ."):
        return "is empty"
    if len(normalise(name).encode()) > MAX_PART_BYTES:
        return f"is longer than {MAX_PART_BYTES} bytes"
    if has_control_characters(name):
        return "has control characters"
    return "looks like a formula of a spreadsheet" if FORMULA.match(name) else None


def list_classes(names: Iterable[str]) -> tuple[str, ...]:
    """In the frozen order. Raises ImportRejectedError for bad names, and for those that people take for one."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[_fold(name)].add(name)
    for twins in spellings.values():
        if len(twins) > 1:
            raise _twins(sorted(twins))
    classes = tuple(sorted(normalise(name) for twins in spellings.values() for name in twins))
    for name in classes:
        if fault := find_name_fault(name):
            raise ImportRejectedError(
                "class_name_invalid", f"the class name {name!r} {fault}", hint="rename the class: letters and digits"
            )
    return classes


def check_train_given(given_splits: tuple[Split, ...]) -> None:
    if given_splits and "train" not in given_splits:
        raise ImportRejectedError(
            "no_train_split",
            f"the archive gives a split of its own for {' and '.join(given_splits)}, but none for 'train'",
            hint="add the training pictures, or give no splits",
        )


def _fold(name: str) -> str:
    """Equal for names that people and file systems take for one."""
    return normalise(name).casefold().strip().rstrip(" .")


def _twins(names: list[str]) -> ImportRejectedError:
    shown = " and ".join(ascii(name) for name in names)
    return ImportRejectedError(
        "ambiguous_class_names", f"classes with nearly one name: {shown}", hint="merge or rename them"
    )
