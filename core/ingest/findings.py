"""What is said about a dataset: findings by a closed set of codes."""

from collections import Counter
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

MAX_KEPT_PER_CODE = 200  # many of one code must not hide another
Severity = Literal["info", "warning"]  # what is an error ends the import, see errors.py


class FindingCode(StrEnum):
    # Left out; the first six are those of core.images
    IMAGE_FORMAT_UNSUPPORTED = "image_format_unsupported"
    IMAGE_TOO_LARGE_BYTES = "image_too_large_bytes"
    IMAGE_TOO_MANY_PIXELS = "image_too_many_pixels"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_TRUNCATED = "image_truncated"
    IMAGE_UNDECODABLE = "image_undecodable"
    NOT_AN_IMAGE = "not_an_image"
    OUTSIDE_CLASS = "outside_class"
    NOT_LISTED = "not_listed"
    # Kept
    IMAGE_TINY = "image_tiny"
    DUPLICATE_IMAGES = "duplicate_images"
    DUPLICATE_ACROSS_SPLITS = "duplicate_across_splits"
    CONFLICTING_LABELS = "conflicting_labels"
    CLASS_IMBALANCE = "class_imbalance"


HINTS = {
    FindingCode.IMAGE_FORMAT_UNSUPPORTED: "convert it to JPEG, PNG, WebP, BMP or GIF",
    FindingCode.IMAGE_TOO_LARGE_BYTES: "save it with stronger compression",
    FindingCode.IMAGE_TOO_MANY_PIXELS: "scale it down",
    FindingCode.IMAGE_TOO_SMALL: "a picture of so few pixels shows nothing",
    FindingCode.IMAGE_TRUNCATED: "copy it again from its source",
    FindingCode.IMAGE_UNDECODABLE: "open it in a viewer and save it again",
    FindingCode.NOT_AN_IMAGE: "only pictures are read",
    FindingCode.OUTSIDE_CLASS: "put it into the folder of its class",
    FindingCode.NOT_LISTED: "add a row for it to the labels file",
    FindingCode.IMAGE_TINY: "training enlarges it many times",
    FindingCode.DUPLICATE_IMAGES: "they are kept in one split; remove the copies",
    FindingCode.DUPLICATE_ACROSS_SPLITS: "the evaluation will look better than it is: remove one of them",
    FindingCode.CONFLICTING_LABELS: "decide which class it belongs to",
    FindingCode.CLASS_IMBALANCE: "look at the accuracy of each class, not at the overall one alone",
}
SEVERITIES: dict[FindingCode, Severity] = {  # the others are warnings
    FindingCode.NOT_AN_IMAGE: "info",
    FindingCode.IMAGE_TINY: "info",
    FindingCode.DUPLICATE_IMAGES: "info",
}


class Finding(BaseModel):
    """`path` is the file or folder that it is about."""

    model_config = ConfigDict(frozen=True)

    code: FindingCode
    severity: Severity
    path: str
    message: str
    hint: str


class FindingLog:
    """Counts every finding and keeps the first of each code."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.counts: Counter[FindingCode] = Counter()

    def add(self, code: FindingCode, path: str, message: str) -> None:
        self.counts[code] += 1
        if self.counts[code] <= MAX_KEPT_PER_CODE:
            severity = SEVERITIES.get(code, "warning")
            finding = Finding(code=code, severity=severity, path=path, message=message, hint=HINTS[code])
            self.kept.append(finding)
