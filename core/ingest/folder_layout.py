"""Recognises where an archive keeps its classes and splits, from the places of its pictures alone."""

from dataclasses import dataclass

from core.dataset_index import Split
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import FindingCode
from core.ingest.layout import (
    SPLIT_NAMES,
    SPLITS,
    Parts,
    Place,
    Recognised,
    check_train_given,
    list_classes,
    normalise,
)


@dataclass(frozen=True)
class FolderLayout:
    wrapping_folder: str | None
    given_splits: tuple[Split, ...]
    classes: tuple[str, ...]
    labels_file: None = None

    def locate(self, parts: Parts) -> Place | None:
        inner = _unwrap(parts, self.wrapping_folder)
        split = SPLIT_NAMES.get(inner[0].casefold()) if self.given_splits else "train"
        folders = inner[1:-1] if self.given_splits else inner[:-1]
        if split is None or not folders:
            return None
        return Place(class_name=normalise(folders[0]), split=split)

    def explain_outside(self) -> tuple[FindingCode, str]:
        return FindingCode.OUTSIDE_CLASS, "it lies outside of every class folder"

    def describe(self) -> str:
        what = "a folder per class" + (" below train, val and test folders" if self.given_splits else "")
        return what if self.wrapping_folder is None else f"{what}, inside '{self.wrapping_folder}'"

    def recognised(self) -> Recognised:
        return Recognised(
            layout="class_folders",
            wrapping_folder=self.wrapping_folder,
            labels_file=None,
            given_splits=self.given_splits,
        )


def recognise_folders(pictures: list[Parts]) -> FolderLayout:
    """Raises ImportRejectedError unless two or more classes are told apart."""
    wrapping_folder = _find_wrapping_folder(pictures)
    inner = [_unwrap(parts, wrapping_folder) for parts in pictures]
    given_splits = _find_splits(inner)
    classes = list_classes(_find_class_names(inner, has_splits=bool(given_splits)))
    if len(classes) < 2:
        found = f"the only one is '{classes[0]}'" if classes else "no picture lies in a folder"
        raise _no_classes(found)
    if all(name.casefold() in SPLIT_NAMES for name in classes):
        raise _no_classes(f"{' and '.join(classes)} hold pictures, but no class folders")
    return FolderLayout(wrapping_folder=wrapping_folder, given_splits=given_splits, classes=classes)


def _no_classes(why: str) -> ImportRejectedError:
    return ImportRejectedError(
        "one_class",
        f"the archive needs at least two class folders; {why}",
        hint="make a folder per class, or put a labels.csv beside the pictures",
    )


def _find_wrapping_folder(pictures: list[Parts]) -> str | None:
    """One folder around all folders, if there are more folders inside."""
    in_folders = [parts for parts in pictures if len(parts) > 1]
    tops = {parts[0] for parts in in_folders}
    return tops.pop() if len(tops) == 1 and any(len(parts) > 2 for parts in in_folders) else None


def _unwrap(parts: Parts, wrapping_folder: str | None) -> Parts:
    return parts[1:] if wrapping_folder is not None and len(parts) > 1 and parts[0] == wrapping_folder else parts


def _find_splits(pictures: list[Parts]) -> tuple[Split, ...]:
    """`train` may be a class, beside `car` and `bus`; then pictures lie in it directly."""
    in_splits = [parts for parts in pictures if len(parts) > 1 and parts[0].casefold() in SPLIT_NAMES]
    if any(len(parts) == 2 for parts in in_splits):
        return ()
    found = {SPLIT_NAMES[parts[0].casefold()] for parts in in_splits}
    given_splits = tuple(split for split in SPLITS if split in found)
    check_train_given(given_splits)
    return given_splits


def _find_class_names(pictures: list[Parts], *, has_splits: bool) -> set[str]:
    names = set()
    for parts in pictures:
        folders = parts[1:-1] if has_splits else parts[:-1]
        if folders and (not has_splits or parts[0].casefold() in SPLIT_NAMES):
            names.add(folders[0])
    return names
