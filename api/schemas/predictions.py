"""Predictions on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Discriminator, Field, Tag

from api.schemas.common import ApiModel

COVERAGE_HELP = "Asks for `prediction_set`: how often it is to hold the true label"
Coverage = Annotated[float, Field(ge=0.5, lt=1)]
TopK = Annotated[int, Field(ge=1, le=1000)]


class ImageB64(ApiModel):
    b64: str = Field(description="The bytes of a JPEG, PNG, WebP, BMP or GIF in base64")


class ImageUrl(ApiModel):
    url: str = Field(description="`https`; fetched as the URL of a dataset is, with smaller caps")


def _tell_apart(value: object) -> str:
    return "url" if isinstance(value, ImageUrl) or (isinstance(value, dict) and "url" in value) else "b64"


ImageIn = Annotated[Annotated[ImageB64, Tag("b64")] | Annotated[ImageUrl, Tag("url")], Discriminator(_tell_apart)]


class PredictJson(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "model_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "images": [{"b64": "iVBORw0KGgo="}, {"url": "https://example.com/cell.png"}],
                    "coverage": 0.95,
                },
            ]
        }
    )

    images: list[ImageIn] = Field(min_length=1)
    model: str | None = Field(None, description="A model's id or a finished job's id; here, in the query or the path")
    top_k: TopK = 5
    coverage: Coverage | None = Field(None, description=COVERAGE_HELP)


class LabelOut(ApiModel):
    label: str
    probability: float


class ImageSize(ApiModel):
    width: int
    height: int


class PredictionError(ApiModel):
    code: str
    detail: str


class PredictionOut(ApiModel):
    """Labels from the most to the least likely; or `error`, when this one picture could not be read."""

    top: LabelOut | None = None
    labels: list[LabelOut] | None = None
    prediction_set: list[str] | None = Field(
        None, description="With `coverage`: labels that together hold the true one as often as asked, likeliest first"
    )
    unknown_score: float | None = Field(
        None, description="How unlike the training pictures, from 0 to 2; null for models that were trained before"
    )
    is_unknown: bool | None = Field(
        None, description="Whether the score is above that of 95 % of the validation pictures; null without a score"
    )
    image: ImageSize | None = None
    error: PredictionError | None = None


class PredictOut(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model_id": "model_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "predictions": [
                        {
                            "top": {"label": "defective", "probability": 0.93},
                            "labels": [
                                {"label": "defective", "probability": 0.93},
                                {"label": "functional", "probability": 0.07},
                            ],
                            "prediction_set": ["defective"],
                            "unknown_score": 0.08,
                            "is_unknown": False,
                            "image": {"width": 300, "height": 300},
                        },
                        {"error": {"code": "image_undecodable", "detail": "the bytes are not a picture"}},
                    ],
                    "timing_ms": {"fetch": 0.0, "decode": 4.1, "model": 12.9},
                }
            ]
        }
    )

    model_id: str
    predictions: list[PredictionOut]
    timing_ms: dict[str, float]
