"""A `labels.csv` or `metadata.jsonl` beside the pictures: its rows say class and split."""

from collections.abc import Set
from dataclasses import dataclass
from typing import NamedTuple

from core.dataset_index import Split
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import FindingCode
from core.ingest.labels_file import LABELS_FILE_NAMES, LabelRow, RowProblems, read_rows
from core.ingest.layout import SPLITS, Parts, Place, Recognised, check_train_given, list_classes, normalise
from core.ingest.limits import IngestLimits
from core.ingest.members import Member


@dataclass(frozen=True)
class LabelsLayout:
    labels_file: Parts
    given_splits: tuple[Split, ...]
    classes: tuple[str, ...]
    places: dict[str, Place]  # by the path in the archive, NFC

    def locate(self, parts: Parts) -> Place | None:
        return self.places.get(normalise("/".join(parts)))

    def explain_outside(self) -> tuple[FindingCode, str]:
        return FindingCode.NOT_LISTED, f"no row of {self.labels_file[-1]} names it"

    def describe(self) -> str:
        what = f"classes {'and splits ' if self.given_splits else ''}by the rows of {self.labels_file[-1]}"
        return what if len(self.labels_file) == 1 else f"{what}, inside '{self.labels_file[0]}'"

    def recognised(self) -> Recognised:
        return Recognised(
            layout="labels_file",
            wrapping_folder=self.labels_file[0] if len(self.labels_file) > 1 else None,
            labels_file=self.labels_file[-1],
            given_splits=self.given_splits,
        )


class LabelsFile(NamedTuple):
    parts: Parts
    content: bytes


class LabelsFileFinder:
    """Takes every file of the archive and keeps what may be its labels file: at the top, or in the one top folder."""

    def __init__(self) -> None:
        self._candidates: dict[Parts, LabelsFile] = {}
        self._top_folders: set[str] = set()

    def add(self, member: Member) -> None:
        parts = member.parts
        if len(parts) > 1 and len(self._top_folders) < 2:
            self._top_folders.add(parts[0])
        if len(self._top_folders) > 1:
            self._candidates = {found: file for found, file in self._candidates.items() if len(found) == 1}
        if parts[-1] in LABELS_FILE_NAMES and len(parts) <= (2 if len(self._top_folders) == 1 else 1):
            self._candidates[parts] = LabelsFile(parts, member.content)

    def find(self) -> LabelsFile | None:
        """Raises ImportRejectedError for two of them."""
        depth = min((len(parts) for parts in self._candidates), default=0)
        found = [file for parts, file in self._candidates.items() if len(parts) == depth]
        if len(found) > 1:
            raise ImportRejectedError(
                "labels_file_ambiguous",
                f"the archive has both {' and '.join(LABELS_FILE_NAMES)}",
                hint="keep one of them",
            )
        return found[0] if found else None


def recognise_labels(labels_file: LabelsFile, files: Set[str], limits: IngestLimits) -> LabelsLayout:
    """`files` are the paths in the archive, NFC. Raises ImportRejectedError."""
    rows = read_rows(labels_file.parts[-1], labels_file.content, limits)
    folder = "".join(f"{normalise(part)}/" for part in labels_file.parts[:-1])
    places: dict[str, Place] = {}
    with RowProblems(labels_file.parts[-1]) as problems:
        for row in rows:
            path = folder + row.path
            _check_path(row, path, places, files, problems)
            places[path] = Place(class_name=row.label, split=row.split or "train")
    given_splits = _find_splits(rows)
    classes = list_classes({row.label for row in rows})
    if len(classes) < 2:
        raise ImportRejectedError(
            "one_class", f"{labels_file.parts[-1]} needs at least two labels; the only one is {classes[0]!r}"
        )
    return LabelsLayout(labels_file=labels_file.parts, given_splits=given_splits, classes=classes, places=places)


def _check_path(row: LabelRow, path: str, places: dict[str, Place], files: Set[str], problems: RowProblems) -> None:
    if path in places:
        problems.add("labels_row_duplicate", row.line, f"{row.path!r} has a row already")
    elif path not in files:
        problems.add("labels_file_missing", row.line, f"the archive has no file {row.path!r}")


def _find_splits(rows: list[LabelRow]) -> tuple[Split, ...]:
    found = {row.split for row in rows}
    given_splits = tuple(split for split in SPLITS if split in found)
    check_train_given(given_splits)
    return given_splits
