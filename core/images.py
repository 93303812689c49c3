"""The one decode of untrusted pictures: formats, EXIF, modes, limits. Used by import, training and predict alike."""

import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MIN_SIDE = 4
SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


class ImageLimits(BaseModel):
    """Checked before any pixel is decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int = 30_000_000
    max_pixels: int = 40_000_000
    max_side: int = 16_384


class ImageError(Exception):
    """A picture that cannot be used.

    Codes: image_undecodable, image_truncated, image_too_large_bytes, image_too_many_pixels, image_too_small.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def decode_rgb(content: bytes, limits: ImageLimits) -> Image.Image:
    """An upright, fully loaded RGB picture: EXIF orientation applied, 16 bit scaled, alpha composed on white."""
    if len(content) > limits.max_bytes:
        raise ImageError("image_too_large_bytes", f"the picture has more than {limits.max_bytes} bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the limits below are ours
        image = _open(content)
        _check_size(image, limits)
        _load(image)
        return _to_rgb(_upright(image))


def _open(content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as exc:
        raise ImageError("image_undecodable", f"the bytes are no picture of {', '.join(FORMATS)}") from exc
    except Image.DecompressionBombError as exc:
        raise ImageError("image_too_many_pixels", "the picture has far too many pixels") from exc
    except Exception as exc:
        raise ImageError("image_undecodable", "the header of the picture is damaged") from exc


def _check_size(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageError(
            "image_too_many_pixels",
            f"{width} x {height} pixels; {limits.max_pixels} in all and {limits.max_side} a side are allowed",
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError("image_too_small", f"{width} x {height} pixels; at least {MIN_SIDE} a side are needed")


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except OSError as exc:
        code = "image_truncated" if "truncated" in str(exc) else "image_undecodable"
        raise ImageError(code, "the picture is cut off or damaged") from exc
    except Exception as exc:
        raise ImageError("image_undecodable", "the picture is damaged") from exc


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - damaged EXIF must not cost a good picture
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """One rule a mode; `Image.convert("RGB")` alone clips 16 bit to white and shows hidden colours under alpha."""
    if image.mode in SIXTEEN_BIT_MODES:
        return _scale_to_8_bit(image).convert("RGB")
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bit(image: Image.Image) -> Image.Image:
    """0…65535 to 0…255 by the high byte, the same for every picture, so that brightness keeps its meaning."""
    return image.convert("I").point(lambda value: value / 256).convert("L")
