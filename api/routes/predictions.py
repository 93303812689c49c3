"""Predict: one function behind two routes."""

import time
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from api.decode_pool import DecodedImage
from api.deps import PrincipalDep, ServicesDep
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

NOTHING: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
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
    model_id = await run_in_threadpool(_find_model, services, principal, reference)
    began_at = time.perf_counter()
    contents = await services.picture_fetcher.fetch_many(body.images, principal.project_id)
    fetched_at = time.perf_counter()
    async with services.model_cache.use(model_id) as loaded:
        renderer = Renderer(loaded.card, asked.or_else(body.asked))
        started = time.perf_counter()
        decoded = await _decode(services, contents, loaded.card.preprocessing)
        decoded_at = time.perf_counter()
        good = [item for item in decoded if isinstance(item, DecodedImage)]
        probabilities = await loaded.predict(np.stack([item.pixels for item in good])) if good else NOTHING
        finished = time.perf_counter()
    return PredictOut(
        model_id=model_id,
        predictions=renderer.render(decoded, probabilities),
        timing_ms={
            "fetch": round(1000 * (fetched_at - began_at), 2),
            "decode": round(1000 * (decoded_at - started), 2),
            "model": round(1000 * (finished - decoded_at), 2),
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


def _find_model(services: Services, principal: Principal, reference: str) -> str:
    with services.transaction() as session:
        return models.find_servable(session, principal.project_id, reference).id
