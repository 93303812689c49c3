"""Predict: one function behind two routes."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from api.decode_pool import DecodedImage
from api.deps import PrincipalDep, ServicesDep
from api.gone_clients import unless_gone
from api.predict_bodies import PredictBody, read_predict_body
from api.predict_rendering import DEFAULT_TOP_K, Asked, Renderer
from api.schemas.common import Problem
from api.schemas.predictions import COVERAGE_HELP, Coverage, PredictOut, TopK
from api.services import Services
from core import models
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
    with services.picture_gate.admit(principal.project_id, len(body.images)):
        return await unless_gone(request, _answer(services, principal, reference, body, asked.or_else(body.asked)))


async def _answer(
    services: Services, principal: Principal, reference: str, body: PredictBody, asked: Asked
) -> PredictOut:
    model_id = await _find_model(services, principal.project_id, reference)
    began_at = time.perf_counter()
    contents = await services.picture_fetcher.fetch_many(body.images, principal.project_id)
    fetched_at = time.perf_counter()
    async with services.model_cache.use(model_id) as loaded:
        renderer = Renderer(loaded.card, asked)
        loaded_at = time.perf_counter()
        decoded = await _decode(services, contents, loaded.card.preprocessing)
        decoded_at = time.perf_counter()
        predictions = await loaded.predict([item.pixels for item in decoded if isinstance(item, DecodedImage)])
        answered_at = time.perf_counter()
    return PredictOut(
        model_id=model_id,
        predictions=renderer.render(decoded, predictions),
        timing_ms={
            "fetch": _to_ms(fetched_at - began_at),
            "load": _to_ms(loaded_at - fetched_at),
            "decode": _to_ms(decoded_at - loaded_at),
            "model": _to_ms(answered_at - decoded_at),
        },
    )


async def _decode(
    services: Services, contents: list[bytes | FetchError], preprocessing: Preprocessing
) -> list[DecodedImage | ImageError | FetchError]:
    """In the order given; what was not fetched stays in its place."""
    fetched = [content for content in contents if isinstance(content, bytes)]
    decoded = iter(await services.decode_pool.decode_many(fetched, preprocessing))
    return [content if isinstance(content, FetchError) else next(decoded) for content in contents]


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


async def _find_model(services: Services, project_id: str, reference: str) -> str:
    """Asked for every request, so that a deleted model is gone at once; those that ask at a time ask together."""

    def find() -> str:
        with services.lookups() as session:
            return models.find_servable(session, project_id, reference)

    return await services.shared_reads.read(("servable", project_id, reference), find)


def _to_ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
