"""What the decode pool and its children say to each other, a JSON line each; a picture's bytes follow its request."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.images import ImageErrorCode, ImageLimits, ProcessErrorCode
from core.inference.preprocessing import Preprocessing

Side = Annotated[int, Field(ge=1, le=2**31 - 1)]  # pixels


class DecodeRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int  # of the picture
    preprocessing: Preprocessing
    limits: ImageLimits


class PictureSize(BaseModel):
    """Of a picture that was decoded, upright."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    width: Side
    height: Side


class PictureRefused(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    code: ImageErrorCode | ProcessErrorCode
    message: str = Field(max_length=1000)


ANSWER: TypeAdapter[PictureSize | PictureRefused] = TypeAdapter(PictureSize | PictureRefused)
