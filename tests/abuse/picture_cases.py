"""What the cases of the corpus of pictures are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from tests.pictures import encode

AS_TWIN = "as its twin"


@dataclass(frozen=True)
class PictureCase:
    """`code` is the finding, or the size it is taken with; with a twin, an RGB PNG, the pixels must be equal."""

    name: str
    expected: Literal["accept", "refuse"]
    code: str
    make: Callable[[], bytes]
    path: str = "cat/case.png"
    twin: bytes | None = None


def take_as(name: str, twin: Image.Image, make: Callable[[], bytes], path: str = "cat/case.png") -> PictureCase:
    return PictureCase(name, "accept", AS_TWIN, make, path, encode(twin.convert("RGB")))


def take(name: str, size: tuple[int, int], make: Callable[[], bytes], path: str = "cat/case.png") -> PictureCase:
    """Where the pixels depend on the decoder."""
    return PictureCase(name, "accept", f"{size[0]} x {size[1]}", make, path)


def leave_out(name: str, code: str, make: Callable[[], bytes], path: str = "cat/case.png") -> PictureCase:
    return PictureCase(name, "refuse", code, make, path)
