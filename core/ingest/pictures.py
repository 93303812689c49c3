"""What an import learns of one picture, all of it from its one decode."""

import hashlib
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from core.images import ImageError, ImageLimits, Oddity, decode

THUMBNAIL_SIDE = 128
THUMBNAIL_QUALITY = 75
SIGNATURE_SIDE = 16
SIGNATURE_BYTES = SIGNATURE_SIDE**2


class Inspected(NamedTuple):
    width: int  # after EXIF orientation
    height: int
    image_format: str
    oddities: tuple[Oddity, ...]
    sha256: str  # of the original bytes
    pixels_sha256: str  # equal for pictures with equal pixels
    signature: bytes  # 16 x 16 grey values, what near duplicates are told by
    thumbnail: bytes  # a JPEG of at most 128 pixels a side, without metadata


class Unusable(NamedTuple):
    code: str
    message: str


Inspection = Inspected | Unusable


def inspect(content: bytes, limits: ImageLimits) -> Inspection:
    try:
        picture, image_format, oddities = decode(content, limits)
    except ImageError as exc:
        return Unusable(exc.code, exc.message)
    small = _shrink(picture)
    return Inspected(
        width=picture.width,
        height=picture.height,
        image_format=image_format,
        oddities=oddities,
        sha256=hashlib.sha256(content).hexdigest(),
        pixels_sha256=_hash_pixels(picture),
        signature=_sign(small),
        thumbnail=_encode(small),
    )


def _shrink(picture: Image.Image) -> Image.Image:
    """By a whole number, which costs a tenth of what resampling does."""
    factor = -(-max(picture.size) // THUMBNAIL_SIDE)
    return picture if factor == 1 else picture.reduce((min(factor, picture.width), min(factor, picture.height)))


def _hash_pixels(picture: Image.Image) -> str:
    digest = hashlib.sha256(f"{picture.width} x {picture.height}\n".encode())
    digest.update(picture.tobytes())
    return digest.hexdigest()


def _sign(small: Image.Image) -> bytes:
    grey, size = small.convert("L"), (SIGNATURE_SIDE, SIGNATURE_SIDE)
    return grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0).tobytes()


def _encode(small: Image.Image) -> bytes:
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
