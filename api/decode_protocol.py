"""What the decode pool and its children say to each other, a JSON line each; a picture's bytes follow its request."""

from pydantic import BaseModel, ConfigDict, PositiveInt, TypeAdapter

from core.images import ImageErrorCode, ImageLimits, ProcessErrorCode
from core.inference.preprocessing import Preprocessing


class DecodeRequest(BaseModel):
    size_bytes: int  # of the picture
    preprocessing: Preprocessing
    limits: ImageLimits


class PictureSize(BaseModel):
    """Of a picture that was decoded, upright."""

    model_config = ConfigDict(strict=True, extra="forbid")

    width: PositiveInt
    height: PositiveInt


class PictureRefused(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    code: ImageErrorCode | ProcessErrorCode
    message: str


ANSWER: TypeAdapter[PictureSize | PictureRefused] = TypeAdapter(PictureSize | PictureRefused)
