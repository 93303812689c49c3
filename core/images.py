"""The one decode of untrusted pictures: formats, EXIF, modes, limits. Used by import, training and predict alike."""

from PIL import Image
from pydantic import BaseModel, ConfigDict

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")


class ImageLimits(BaseModel):
    """Checked before any pixel is decoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_bytes: int = 30_000_000
    max_pixels: int = 40_000_000
    max_side: int = 16_384


class ImageError(Exception):
    """A picture that cannot be used: `code` is stable snake_case (image_undecodable, image_truncated, image_too_large …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def decode_rgb(content: bytes, limits: ImageLimits) -> Image.Image:
    """An upright, fully loaded RGB picture: EXIF orientation applied, 16 bit scaled, alpha composed on white."""
    raise NotImplementedError
