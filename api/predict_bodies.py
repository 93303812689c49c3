"""Reads the three kinds of predict body: a form with files, JSON with base64 or URLs, one raw picture."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar, assert_never

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from api.forms import PartBytes, PartEnded, PartStarted, read_form
from api.predict_rendering import Asked
from api.schemas.predictions import Coverage, ImageB64, ImageUrl, PredictJson, TopK
from core.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from core.settings import Settings

MAX_FIELD_BYTES = 1000

Number = TypeVar("Number", int, float)
_TOP_K: TypeAdapter[int] = TypeAdapter(TopK)
_COVERAGE: TypeAdapter[float] = TypeAdapter(Coverage)


@dataclass(frozen=True)
class PictureUrl:
    """Where a picture is to be fetched from."""

    url: str


Picture = bytes | PictureUrl


@dataclass(frozen=True)
class PredictBody:
    """The pictures in the order sent, and what else the body said."""

    images: Sequence[Picture]
    model: str | None = None
    asked: Asked = field(default_factory=Asked)


async def read_predict_body(request: Request, settings: Settings) -> PredictBody:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    match content_type:
        case "multipart/form-data":
            body = await _read_form(request)
        case "application/json":
            body = _read_json(await request.body())
        case "application/octet-stream":
            body = PredictBody(images=[await request.body()])
        case _ if content_type.startswith("image/"):
            body = PredictBody(images=[await request.body()])
        case _:
            raise UnsupportedMediaError(
                "unsupported_body",
                "the body is neither a form, nor JSON, nor a picture",
                hint="send multipart/form-data with `files`, JSON with `images`, or image/jpeg",
            )
    _check_images(body.images, settings)
    return body


async def _read_form(request: Request) -> PredictBody:
    images: list[bytes] = []
    fields: dict[str, bytes] = {}
    part = PartStarted(name="", filename=None, content_type="")
    content = bytearray()
    async for event in read_form(request):
        match event:
            case PartStarted():
                part, content = event, bytearray()
            case PartBytes():
                content += event.content
            case PartEnded() if part.name in {"files", "file"}:
                images.append(bytes(content))
            case PartEnded():
                fields[part.name] = bytes(content[:MAX_FIELD_BYTES])
    _refuse_unknown(fields)
    asked = Asked(_read_number(_TOP_K, fields, "top_k"), _read_number(_COVERAGE, fields, "coverage"))
    return PredictBody(images=images, model=_read_text(fields.get("model")), asked=asked)


def _refuse_unknown(fields: dict[str, bytes]) -> None:
    unknown = sorted(set(fields) - {"model", "top_k", "coverage"})
    if unknown:
        raise InvalidInputError("unknown_field", f"there is no such field: {unknown[0]}", param=unknown[0])


def _read_text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace").strip()


def _read_number(kind: TypeAdapter[Number], fields: dict[str, bytes], name: str) -> Number | None:
    if name not in fields:
        return None
    try:
        return kind.validate_strings(fields[name].decode(errors="replace"))
    except ValidationError as exc:
        message = f"`{name}`: {exc.errors()[0]['msg']}"
        raise InvalidInputError("invalid_request", message, param=name) from exc


def _read_json(raw: bytes) -> PredictBody:
    try:
        body = PredictJson.model_validate_json(raw)
    except ValidationError as exc:
        errors = [error | {"loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise RequestValidationError(errors) from exc
    images = [_read_image(image) for image in body.images]
    return PredictBody(images=images, model=body.model, asked=Asked(body.top_k, body.coverage))


def _read_image(image: ImageB64 | ImageUrl) -> Picture:
    match image:
        case ImageB64():
            return _decode_base64(image.b64)
        case ImageUrl():
            return PictureUrl(image.url)
        case _:
            assert_never(image)


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""  # spoils its own entry alone: no bytes are no picture


def _check_images(images: Sequence[Picture], settings: Settings) -> None:
    if not images:
        raise InvalidInputError("image_required", "the body has no picture", hint="send it as `files`", param="files")
    if len(images) > settings.max_predict_images:
        raise TooLargeError(
            "too_many_images",
            f"{len(images)} pictures in one request; {settings.max_predict_images} are allowed",
            hint="send them in several requests",
        )
