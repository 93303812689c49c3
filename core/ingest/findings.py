"""What is said about a dataset: findings by a closed set of codes."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from core.dataset_index import IndexEntry

MAX_LISTED_PER_CODE = 10_000  # many of one code must not hide another
MAX_RELATED = 10
MAX_RELATED_CHARS = 2_000  # of all their paths; names may be a thousand characters long
Severity = Literal["warning", "info"]  # what is an error ends the import, see errors.py


class FindingCode(StrEnum):
    """In the order of the report."""

    # Left out; the first six are those of core.images
    IMAGE_FORMAT_UNSUPPORTED = "image_format_unsupported"
    IMAGE_TOO_LARGE_BYTES = "image_too_large_bytes"
    IMAGE_TOO_MANY_PIXELS = "image_too_many_pixels"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_TRUNCATED = "image_truncated"
    IMAGE_UNDECODABLE = "image_undecodable"
    IMAGE_DECODE_CRASHED = "image_decode_crashed"
    OUTSIDE_CLASS = "outside_class"
    NOT_LISTED = "not_listed"
    NOT_AN_IMAGE = "not_an_image"
    # Kept
    CONFLICTING_LABELS = "conflicting_labels"
    DUPLICATE_ACROSS_SPLITS = "duplicate_across_splits"
    NEAR_DUPLICATE_LABELS = "near_duplicate_labels"
    NEAR_DUPLICATE_ACROSS_SPLITS = "near_duplicate_across_splits"
    CLASS_EMPTY = "class_empty"
    CLASS_SMALL = "class_small"
    CLASS_MISSING_IN_SPLIT = "class_missing_in_split"
    CLASS_IMBALANCE = "class_imbalance"
    DUPLICATE_IMAGES = "duplicate_images"
    NEAR_DUPLICATES = "near_duplicates"
    IMAGE_TINY = "image_tiny"
    IMAGE_MODE_UNUSUAL = "image_mode_unusual"
    IMAGE_ANIMATED = "image_animated"
    IMAGE_MISNAMED = "image_misnamed"


HINTS = {
    FindingCode.IMAGE_FORMAT_UNSUPPORTED: "convert it to JPEG, PNG, WebP, BMP or GIF",
    FindingCode.IMAGE_TOO_LARGE_BYTES: "save it with stronger compression",
    FindingCode.IMAGE_TOO_MANY_PIXELS: "scale it down",
    FindingCode.IMAGE_TOO_SMALL: "a picture of so few pixels shows nothing",
    FindingCode.IMAGE_TRUNCATED: "copy it again from its source",
    FindingCode.IMAGE_UNDECODABLE: "open it in a viewer and save it again",
    FindingCode.IMAGE_DECODE_CRASHED: "open it in a viewer and save it again",
    FindingCode.OUTSIDE_CLASS: "put it into the folder of its class",
    FindingCode.NOT_LISTED: "add a row for it to the labels file",
    FindingCode.NOT_AN_IMAGE: "only pictures are read",
    FindingCode.CONFLICTING_LABELS: "decide which class it belongs to",
    FindingCode.DUPLICATE_ACROSS_SPLITS: "the evaluation will look better than it is: remove one of them",
    FindingCode.NEAR_DUPLICATE_LABELS: "look at them: one label may be wrong",
    FindingCode.NEAR_DUPLICATE_ACROSS_SPLITS: "if they show the same, remove one: the evaluation looks too good",
    FindingCode.CLASS_EMPTY: "add pictures to make it a class, or remove the folder",
    FindingCode.CLASS_SMALL: "add pictures: from so few little is learnt, and its accuracy says little",
    FindingCode.CLASS_MISSING_IN_SPLIT: "add pictures of it there: else nothing is known of how well it is recognised",
    FindingCode.CLASS_IMBALANCE: 'look at the accuracy of each class, or train with `"class_weights": "auto"`',
    FindingCode.DUPLICATE_IMAGES: "splits made here keep them together; remove the copies",
    FindingCode.NEAR_DUPLICATES: "splits made here keep them together; nothing needs to be done",
    FindingCode.IMAGE_TINY: "training enlarges it many times",
    FindingCode.IMAGE_MODE_UNUSUAL: "check that the thumbnail shows what you expect; else convert it to 8 bit RGB",
    FindingCode.IMAGE_ANIMATED: "save the frame that matters as a picture of its own",
    FindingCode.IMAGE_MISNAMED: "rename it; what it holds decides",
}
LEFT_OUT = frozenset(
    {
        FindingCode.IMAGE_FORMAT_UNSUPPORTED,
        FindingCode.IMAGE_TOO_LARGE_BYTES,
        FindingCode.IMAGE_TOO_MANY_PIXELS,
        FindingCode.IMAGE_TOO_SMALL,
        FindingCode.IMAGE_TRUNCATED,
        FindingCode.IMAGE_UNDECODABLE,
        FindingCode.IMAGE_DECODE_CRASHED,
        FindingCode.OUTSIDE_CLASS,
        FindingCode.NOT_LISTED,
        FindingCode.NOT_AN_IMAGE,
    }
)
SEVERITIES: dict[FindingCode, Severity] = {  # the others are warnings
    FindingCode.NOT_AN_IMAGE: "info",
    FindingCode.DUPLICATE_IMAGES: "info",
    FindingCode.NEAR_DUPLICATES: "info",
    FindingCode.IMAGE_TINY: "info",
    FindingCode.IMAGE_MODE_UNUSUAL: "info",
    FindingCode.IMAGE_ANIMATED: "info",
    FindingCode.IMAGE_MISNAMED: "info",
}


def get_severity(code: FindingCode) -> Severity:
    return SEVERITIES.get(code, "warning")


class SampleRef(BaseModel):
    model_config = ConfigDict(frozen=True)

    sample_id: str
    path: str


class Finding(BaseModel):
    """`path` is the file, folder or class that it is about; `sample_id` is None for what is no sample."""

    model_config = ConfigDict(frozen=True)

    code: FindingCode
    severity: Severity
    path: str
    sample_id: str | None
    message: str
    hint: str
    related: list[SampleRef]  # the first of the others that it is about
    num_related: int


class ListedFindings(NamedTuple):
    """All findings of one code."""

    code: FindingCode
    num_found: int
    lines: list[bytes]  # the first MAX_LISTED_PER_CODE as JSON: a tenth of the memory that the objects would take


class FindingLog:
    """Counts every finding, keeps the first of each code, and remembers which samples they are about."""

    def __init__(self) -> None:
        self.counts: Counter[FindingCode] = Counter()
        self.codes_of: dict[str, set[FindingCode]] = defaultdict(set)  # by sample id
        self._lines: dict[FindingCode, list[bytes]] = defaultdict(list)

    def add(self, code: FindingCode, path: str, message: str) -> None:
        """About something that is no sample."""
        self._add(code, path, message, sample_id=None, others=())

    def add_about(self, code: FindingCode, samples: list[IndexEntry], message: str) -> None:
        """About one sample or several; the first one is in front."""
        for sample in samples:
            self.codes_of[sample.sample_id].add(code)
        first, *others = samples
        self._add(code, first.path, message, sample_id=first.sample_id, others=others)

    def list_by_code(self) -> list[ListedFindings]:
        return [ListedFindings(code, self.counts[code], self._lines[code]) for code in FindingCode if self.counts[code]]

    def _add(
        self, code: FindingCode, path: str, message: str, *, sample_id: str | None, others: Iterable[IndexEntry]
    ) -> None:
        self.counts[code] += 1
        if self.counts[code] > MAX_LISTED_PER_CODE:
            return
        others = list(others)
        finding = Finding(
            code=code,
            severity=get_severity(code),
            path=path,
            sample_id=sample_id,
            message=message,
            hint=HINTS[code],
            related=_refer(others),
            num_related=len(others),
        )
        self._lines[code].append(finding.model_dump_json().encode() + b"\n")


def _refer(samples: list[IndexEntry]) -> list[SampleRef]:
    refs = [SampleRef(sample_id=sample.sample_id, path=sample.path) for sample in samples[:MAX_RELATED]]
    while sum(len(ref.path) for ref in refs) > MAX_RELATED_CHARS:
        refs.pop()
    return refs
