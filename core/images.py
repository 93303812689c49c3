"""The one decode of untrusted pictures: formats, EXIF, modes, limits. Used by import, training and predict alike."""

import re
import warnings
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8")

# A scan costs a walk over the whole picture, and a file of 30 MB could hold millions. Encoders make ten or so.
MAX_JPEG_SCANS = 100
JPEG_SIGNATURE = b"\xff\xd8\xff"
JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # but for stuffed bytes, restarts and padding
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9

ImageErrorCode = Literal[
    "image_too_large_bytes",  # more bytes than allowed
    "image_format_unsupported",  # none of FORMATS, by content
    "image_too_many_pixels",  # more pixels, or a longer side, than allowed
    "image_too_small",  # a side under ImageLimits.min_side
    "image_truncated",  # ends too early
    "image_undecodable",  # damaged in any other way
]
ProcessErrorCode = Literal[
    "image_decode_crashed",  # the process that decoded it died of it
    "image_decode_timeout",
]

Oddity = Literal["cmyk", "16_bit", "transparent", "animated"]  # what a decoded RGB picture no longer shows

ORIENTATION_TAG = 0x0112
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageLimits(BaseModel):
    """Checked before any pixel is decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int = 30_000_000
    max_pixels: int = 40_000_000
    max_side: int = 16_384
    min_side: int = 8


class Decoded(NamedTuple):
    picture: Image.Image
    image_format: str  # one of FORMATS, by content
    oddities: tuple[Oddity, ...]


class ImageError(Exception):
    """A picture that cannot be used."""

    def __init__(self, code: ImageErrorCode | ProcessErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def decode_rgb(content: bytes, limits: ImageLimits) -> Image.Image:
    """An upright, fully loaded RGB picture without metadata: first frame, 16 bit scaled, alpha composed on white."""
    return decode(content, limits).picture


def decode(content: bytes, limits: ImageLimits) -> Decoded:
    """As `decode_rgb`, with what the picture was before."""
    if len(content) > limits.max_bytes:
        raise ImageError(
            "image_too_large_bytes", f"it has {len(content)} bytes, at most {limits.max_bytes} are allowed"
        )
    try:
        return _decode(content, limits)
    except ImageError:
        raise
    except Exception as exc:  # Pillow raises nearly anything on damaged bytes
        raise _translate(exc, content) from exc


def has_known_format(content: bytes) -> bool:
    """Whether the first bytes are those of one of FORMATS; the rest may be anything."""
    return content.startswith(SIGNATURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP")


def _decode(content: bytes, limits: ImageLimits) -> Decoded:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what it warns of is checked here
        picture = Image.open(BytesIO(content), formats=FORMATS)
        _check_size(picture, limits)
        _check_scans(content)
        picture.load()
        upright = _turn_upright(_convert_to_rgb(picture), _read_orientation(picture))
        oddities = _find_oddities(picture)  # last: to look for a second frame may leave nothing of the first
    upright.info = {}
    return Decoded(upright, picture.format or "", oddities)


def _check_size(picture: Image.Image, limits: ImageLimits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        allowed = f"at most {limits.max_pixels} pixels and {limits.max_side} a side are allowed"
        raise ImageError("image_too_many_pixels", f"it is {width} x {height}, {allowed}")
    if min(width, height) < limits.min_side:
        raise ImageError("image_too_small", f"it is {width} x {height}, a side needs at least {limits.min_side} pixels")


def _check_scans(content: bytes) -> None:
    if content.startswith(JPEG_SIGNATURE) and _count_scans(content) > MAX_JPEG_SCANS:
        raise ImageError("image_undecodable", f"it has more than {MAX_JPEG_SCANS} scans")


def _count_scans(jpeg: bytes) -> int:
    """Of the picture itself: neither of a preview within a segment, nor of what follows its end."""
    count, at = 0, 2
    while (marker := JPEG_MARKER.search(jpeg, at)) and jpeg[marker.end() - 1] != END_OF_IMAGE:
        count += jpeg[marker.end() - 1] == START_OF_SCAN
        at = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return count


def _find_oddities(picture: Image.Image) -> tuple[Oddity, ...]:
    found: dict[Oddity, bool] = {
        "cmyk": picture.mode == "CMYK",
        "16_bit": picture.mode.startswith("I"),
        "transparent": picture.has_transparency_data and _shows_through(picture),
        "animated": _is_animated(picture),
    }
    return tuple(oddity for oddity, is_so in found.items() if is_so)


def _shows_through(picture: Image.Image) -> bool:
    """Many tools write an alpha channel that hides nothing."""
    return picture.convert("RGBA").getchannel("A").getextrema()[0] != 255  # the lowest


def _is_animated(picture: Image.Image) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))  # only formats with frames have it
    except Exception:  # noqa: BLE001  # the first frame is whole, and no other is used
        return False


def _convert_to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return _scale_16_bit(picture).convert("RGB")
    if picture.has_transparency_data:
        return _compose_on_white(picture)
    return picture.convert("RGB")


def _scale_16_bit(picture: Image.Image) -> Image.Image:
    # convert("L") would clip: every value above 255 would be white
    values = np.asarray(picture.convert("I")) >> 8
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def _compose_on_white(picture: Image.Image) -> Image.Image:
    layer = picture.convert("RGBA")
    canvas = Image.new("RGBA", layer.size, "white")
    canvas.alpha_composite(layer)
    return canvas.convert("RGB")


def _read_orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # noqa: BLE001  # damaged EXIF says nothing, and the picture is whole
        return 1


def _turn_upright(picture: Image.Image, orientation: int) -> Image.Image:
    transposition = TRANSPOSITIONS.get(orientation)
    return picture if transposition is None else picture.transpose(transposition)


def _translate(exc: Exception, content: bytes) -> ImageError:
    if isinstance(exc, UnidentifiedImageError) and not has_known_format(content):
        return ImageError("image_format_unsupported", f"it is none of {', '.join(FORMATS)}")
    if isinstance(exc, Image.DecompressionBombError | MemoryError):
        return ImageError("image_too_many_pixels", "it needs more memory than is allowed")
    if isinstance(exc, EOFError) or "truncated" in str(exc).lower():
        return ImageError("image_truncated", "it ends too early")
    return ImageError("image_undecodable", "it is damaged")
