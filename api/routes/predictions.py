"""Predict: one function behind two routes."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Query, Request

from api.admission import once_admitted
from api.decode_pool import DecodedImage
from api.deps import PrincipalDep, ServicesDep
from api.gone_clients import unless_gone
from api.predict_bodies import PredictBody, read_predict_body
from api.predict_rendering import DEFAULT_TOP_K, Asked, Renderer
from api.schemas.common import Problem
from api.schemas.predictions import COVERAGE_HELP, Coverage, PredictOut, TopK
from api.services import Services
from core.errors import InvalidInputError
from core.images import ImageError
from core.inference.preprocessing import Preprocessing
from core.ingest.errors import FetchError
from core.keys import Principal

router = APIRouter(tags=["predict"])

CoverageQuery = Annotated[Coverage | None, Query(description=COVERAGE_HELP)]
TopKQuery = Annotated[TopK | None, Query(description="How many labels; 5 by default")]
BODY: dict[str, Any] = {  # OpenAPI by hand: the route branches on the content type
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "model": {"type": "string"},
                        "top_k": {"type": "integer", "default": DEFAULT_TOP_K},
                        "coverage": {"type": "number", "minimum": 0.5, "exclusiveMaximum": 1},
                    },
                }
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/PredictJson"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
RESPONSES: dict[int | str, dict[str, Any]] = {status: {"model": Problem} for status in (409, 413, 415, 422, 429)}


@router.post("/predict", openapi_extra=BODY, responses=RESPONSES)
async def predict(
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    model: Annotated[str | None, Query(description="A model's id or a finished job's id", max_length=64)] = None,
    top_k: TopKQuery = None,
    coverage: CoverageQuery = None,
) -> PredictOut:
    """Labels for each picture in the order sent; one bad picture spoils only its own entry."""
    return await _predict(request, services, principal, model=model, asked=Asked(top_k, coverage))


@router.post("/models/{model_id}/predict", openapi_extra=BODY, responses=RESPONSES)
async def predict_with_model(
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    model_id: Annotated[str, Path(max_length=64)],
    top_k: TopKQuery = None,
    coverage: CoverageQuery = None,
) -> PredictOut:
    """The same as `POST /predict` with the model in the path."""
    return await _predict(request, services, principal, model=model_id, asked=Asked(top_k, coverage))


async def _predict(
    request: Request, services: Services, principal: Principal, *, model: str | None, asked: Asked
) -> PredictOut:
    body = await read_predict_body(request, services.settings)
    reference = _choose_model(model, body)
    with services.picture_gate.hold(principal.project_id, len(body.images)):
        answer = _answer(request, services, principal, reference, body, asked.or_else(body.asked))
        return await unless_gone(request, answer)


async def _answer(
    request: Request, services: Services, principal: Principal, reference: str, body: PredictBody, asked: Asked
) -> PredictOut:
    async with _begin_decoding(services, principal.project_id, reference, body) as begun:
        model_id = await once_admitted(request, services.servable_models.find(principal.project_id, reference))
        began_at = time.perf_counter()
        contents = await services.picture_fetcher.fetch_many(body.images, principal.project_id)
        fetched_at = time.perf_counter()
        async with services.model_cache.use(model_id) as loaded:
            renderer = Renderer(loaded.card, asked)
            loaded_at = time.perf_counter()
            if begun is not None and begun.model_id == model_id:
                decoded = await begun.task
            else:
                decoded = await _decode(services, contents, loaded.card.preprocessing)
            decoded_at = time.perf_counter()
            pixels = [item.pixels for item in decoded.items if isinstance(item, DecodedImage)]
            predictions = await loaded.predict(pixels)
            answered_at = time.perf_counter()
    return PredictOut(
        model_id=model_id,
        predictions=renderer.render(decoded.items, predictions),
        timing_ms={
            "fetch": _to_ms(fetched_at - began_at),
            "load": _to_ms(loaded_at - fetched_at),
            "decode": _to_ms(decoded.seconds),
            "model": _to_ms(answered_at - decoded_at),
        },
    )


class _Decoded(NamedTuple):
    """In the order given; what was not fetched stays in its place."""

    items: list[DecodedImage | ImageError | FetchError]
    seconds: float


class _Begun(NamedTuple):
    """What is decoded for a model that was not looked up yet."""

    model_id: str
    task: asyncio.Task[_Decoded]


@asynccontextmanager
async def _begin_decoding(
    services: Services, project_id: str, reference: str, body: PredictBody
) -> AsyncIterator[_Begun | None]:
    """For the model that the reference named last time, if it is loaded and no picture has to be fetched."""
    model_id = services.servable_models.recall(project_id, reference)
    card = None if model_id is None else services.model_cache.get_card(model_id)
    contents = [image for image in body.images if isinstance(image, bytes)]
    if model_id is None or card is None or len(contents) < len(body.images):
        yield None
        return
    task = asyncio.create_task(_decode(services, contents, card.preprocessing))
    try:
        yield _Begun(model_id, task)
    finally:
        task.cancel()  # no effect on one that has ended


async def _decode(services: Services, contents: Sequence[bytes | FetchError], preprocessing: Preprocessing) -> _Decoded:
    began_at = time.perf_counter()
    fetched = [content for content in contents if isinstance(content, bytes)]
    decoded = iter(await services.decode_pool.decode_many(fetched, preprocessing))
    items = [content if isinstance(content, FetchError) else next(decoded) for content in contents]
    return _Decoded(items, time.perf_counter() - began_at)


def _choose_model(named: str | None, body: PredictBody) -> str:
    reference = named or body.model
    if not reference:
        raise InvalidInputError(
            "model_required",
            "the request names no model",
            hint="give `model`: a model's id or a job's id",
            param="model",
        )
    return reference


def _to_ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
