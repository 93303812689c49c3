"""The first walk through an archive: names, or a labels file, decide the layout before any picture is decoded."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from posixpath import splitext

from core.images import has_known_format
from core.ingest.errors import ImportRejectedError
from core.ingest.folder_layout import recognise_folders
from core.ingest.labels_layout import LabelsFileFinder, recognise_labels
from core.ingest.layout import Layout, Parts, is_ignored, normalise
from core.ingest.limits import IngestLimits
from core.ingest.members import Member

# What people take for pictures, readable or not: a folder of them is meant to be a class.
PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2"}
)


class FileKind(Enum):
    IGNORED = auto()
    PICTURE = auto()
    OTHER = auto()


@dataclass(frozen=True)
class Survey:
    layout: Layout
    num_pictures: int
    num_ignored: int
    empty_folders: tuple[str, ...]  # that would be classes, had they pictures


def survey(members: Iterable[Member], limits: IngestLimits) -> Survey:
    """Raises ImportRejectedError where no classes can be told apart, or two files have one name."""
    names: list[Parts] = []
    pictures: list[Parts] = []
    labels_files = LabelsFileFinder()
    others: list[Parts] = []
    num_ignored = 0
    for member in members:
        names.append(member.parts)
        kind = classify(member)
        if kind is FileKind.IGNORED:
            num_ignored += 1
        else:
            labels_files.add(member)
        if kind is FileKind.PICTURE:
            pictures.append(member.parts)
        elif kind is FileKind.OTHER:
            others.append(member.parts)
    layout = _recognise(names, pictures, labels_files, limits)
    _check_names(names)
    return Survey(
        layout=layout,
        num_pictures=len(pictures),
        num_ignored=num_ignored,
        empty_folders=_find_empty_folders(layout, others),
    )


def _recognise(
    names: list[Parts], pictures: list[Parts], labels_files: LabelsFileFinder, limits: IngestLimits
) -> Layout:
    if not pictures:
        raise ImportRejectedError("no_images", "the archive holds no pictures", hint="put them in a folder per class")
    if labels_file := labels_files.find():
        files = {normalise("/".join(parts)) for parts in names if not is_ignored(parts)}
        return recognise_labels(labels_file, files, limits)
    return recognise_folders(pictures)


def classify(member: Member) -> FileKind:
    """By content, or by a name that promises a picture: what does not hold the promise is a finding."""
    if is_ignored(member.parts):
        return FileKind.IGNORED
    suffix = splitext(member.parts[-1])[1].lower()
    is_picture = suffix in PICTURE_SUFFIXES or has_known_format(member.content)
    return FileKind.PICTURE if is_picture else FileKind.OTHER


def _find_empty_folders(layout: Layout, others: list[Parts]) -> tuple[str, ...]:
    places = [layout.locate(parts) for parts in others]
    names = {place.class_name for place in places if place is not None}
    return tuple(sorted(names - set(layout.classes)))


def _check_names(names: list[Parts]) -> None:
    seen = set()
    for parts in names:
        name = normalise("/".join(parts))
        if name in seen:
            raise ImportRejectedError("archive_duplicate_name", f"the archive holds '{name}' twice")
        seen.add(name)
