"""Recognises where an archive keeps its classes and splits, from the places of its pictures alone."""

import unicodedata
from collections import defaultdict
from dataclasses import dataclass

from core.dataset_index import Split
from core.ingest.errors import ImportRejectedError

Parts = tuple[str, ...]

IGNORED_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "icon\r"})
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Place:
    class_name: str  # NFC
    split: Split


@dataclass(frozen=True)
class Layout:
    """The rule that tells a picture's class and split from its path."""

    wrapping_folder: str | None
    has_splits: bool
    classes: tuple[str, ...]  # by code point; a label is an index into it

    def locate(self, parts: Parts) -> Place | None:
        """None for what lies outside of every class."""
        inner = _unwrap(parts, self.wrapping_folder)
        split = SPLIT_NAMES.get(inner[0].casefold()) if self.has_splits else "train"
        folders = inner[1:-1] if self.has_splits else inner[:-1]
        if split is None or not folders:
            return None
        return Place(class_name=normalise(folders[0]), split=split)

    def describe(self) -> str:
        what = "a folder per class" + (" below train, val and test folders" if self.has_splits else "")
        return what if self.wrapping_folder is None else f"{what}, inside '{self.wrapping_folder}'"


def normalise(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def is_ignored(parts: Parts) -> bool:
    """Hidden and system files, wherever they lie."""
    return any(part.startswith(".") or part.casefold() in IGNORED_NAMES for part in parts)


def recognise(pictures: list[Parts]) -> Layout:
    """Raises ImportRejectedError unless two or more classes are told apart."""
    if not pictures:
        raise ImportRejectedError("no_images", "the archive holds no pictures", hint="put them in a folder per class")
    wrapping_folder = _find_wrapping_folder(pictures)
    inner = [_unwrap(parts, wrapping_folder) for parts in pictures]
    has_splits = _has_splits(inner)
    classes = _list_classes(inner, has_splits=has_splits)
    if len(classes) < 2:
        found = f"the only one is '{classes[0]}'" if classes else "no picture lies in a folder"
        raise ImportRejectedError(
            "one_class", f"the archive needs at least two class folders; {found}", hint="make a folder per class"
        )
    return Layout(wrapping_folder=wrapping_folder, has_splits=has_splits, classes=classes)


def _find_wrapping_folder(pictures: list[Parts]) -> str | None:
    """One folder around all folders, if there are more folders inside."""
    in_folders = [parts for parts in pictures if len(parts) > 1]
    tops = {parts[0] for parts in in_folders}
    return tops.pop() if len(tops) == 1 and any(len(parts) > 2 for parts in in_folders) else None


def _unwrap(parts: Parts, wrapping_folder: str | None) -> Parts:
    return parts[1:] if wrapping_folder is not None and len(parts) > 1 and parts[0] == wrapping_folder else parts


def _has_splits(pictures: list[Parts]) -> bool:
    """`train` may be a class, beside `car` and `bus`; then pictures lie in it directly."""
    in_splits = [parts for parts in pictures if len(parts) > 1 and parts[0].casefold() in SPLIT_NAMES]
    names = {SPLIT_NAMES[parts[0].casefold()] for parts in in_splits}
    if len(names) == 0 or any(len(parts) == 2 for parts in in_splits):
        return False
    if "train" not in names:
        raise ImportRejectedError(
            "no_train_split", f"the archive has a folder for {' and '.join(sorted(names))}, but none named 'train'"
        )
    return True


def _list_classes(pictures: list[Parts], *, has_splits: bool) -> tuple[str, ...]:
    spellings: dict[str, set[str]] = defaultdict(set)
    for parts in pictures:
        folders = parts[1:-1] if has_splits else parts[:-1]
        if folders and (not has_splits or parts[0].casefold() in SPLIT_NAMES):
            spellings[_fold(folders[0])].add(folders[0])
    for names in spellings.values():
        if len(names) > 1:
            raise _twins(sorted(names))
    return tuple(sorted(normalise(name) for names in spellings.values() for name in names))


def _fold(name: str) -> str:
    """Equal for names that people and file systems take for one."""
    return normalise(name).casefold().rstrip(" .")


def _twins(names: list[str]) -> ImportRejectedError:
    shown = " and ".join(ascii(name) for name in names)
    return ImportRejectedError(
        "ambiguous_class_names", f"class folders with nearly one name: {shown}", hint="merge or rename them"
    )
