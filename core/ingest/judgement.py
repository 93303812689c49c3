"""What is said about one picture that became a sample."""

from posixpath import splitext

from core.dataset_index import IndexEntry
from core.images import Oddity
from core.ingest.findings import FindingCode, FindingLog
from core.ingest.pictures import Inspected

TINY_SIDE = 16
SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
}
CONVERSIONS: dict[Oddity, str] = {
    "cmyk": "its colours are CMYK: converted without a colour profile",
    "16_bit": "it has 16 bits a pixel: scaled to 8",
    "transparent": "it is transparent in parts: laid on white",
}


def judge(entry: IndexEntry, inspected: Inspected, log: FindingLog) -> None:
    if min(entry.width, entry.height) < TINY_SIDE:
        log.add_about(FindingCode.IMAGE_TINY, [entry], f"it is only {entry.width} x {entry.height}")
    conversions = [CONVERSIONS[oddity] for oddity in inspected.oddities if oddity in CONVERSIONS]
    if conversions:
        log.add_about(FindingCode.IMAGE_MODE_UNUSUAL, [entry], "; ".join(conversions))
    if "animated" in inspected.oddities:
        log.add_about(FindingCode.IMAGE_ANIMATED, [entry], "only its first frame is used")
    suffix = splitext(entry.path)[1].lower()
    if SUFFIXES.get(suffix, inspected.image_format) != inspected.image_format:
        message = f"its name ends in '{suffix}', but it is {inspected.image_format}"
        log.add_about(FindingCode.IMAGE_MISNAMED, [entry], message)
