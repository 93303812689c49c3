"""Makes the API: `uvicorn --factory api.main:create_app`."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import Depends, FastAPI
from starlette.types import ASGIApp

from api import openapi
from api.admission import Admission
from api.batching import Batcher
from api.deadline import DeadlineLayer, Deadlines
from api.decode_pool import DecodePool
from api.errors import add_error_handlers
from api.gate import BodyLimits, GateLayer
from api.limits import RateLimiter
from api.model_cache import ModelCache
from api.model_loading import ModelLoader
from api.openapi import Document
from api.picture_fetcher import PictureFetcher
from api.picture_gate import PictureGate
from api.query import refuse_unknown_parameters
from api.request_ids import RequestIdLayer
from api.routes import datasets, jobs, keys, models, operations, predictions, previews, samples, uploads
from api.run_watch import RunWatch
from api.schemas.common import Problem
from api.servable_models import ServableModels
from api.services import Services
from api.shared_reads import SharedReads
from api.unread_bodies import UnreadBodyLayer
from core.cores import count_idle_cores
from core.db.lookups import Lookups
from core.db.session import make_engine, make_session_factory
from core.dispatch import Dispatcher
from core.health import Probes, list_checks
from core.keys import Principal, authenticate
from core.log import configure_logging
from core.quotas import Quotas
from core.settings import Settings
from core.storage import Storage
from core.storage_client import IMPATIENT

DESCRIPTION = "Fine-tunes image classifiers with Bi-tuning: post a dataset and a job, poll it, call predict."


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The finished app inside its layers."""
    settings = settings or Settings()
    configure_logging(settings.log_level)
    services = _make_services(settings)
    return add_layers(_make_fastapi(services), settings, services.lookups, services.rate_limiter, services.picture_gate)


def add_layers(
    app: FastAPI, settings: Settings, lookups: Lookups, limiter: RateLimiter, picture_gate: PictureGate
) -> ASGIApp:
    """What every request passes before its route."""
    limits = BodyLimits(
        upload_bytes=settings.max_upload_bytes,
        predict_bytes=settings.max_predict_bytes,
        json_bytes=settings.max_json_bytes,
    )
    authenticate_key = partial(_authenticate, lookups, settings.quota_requests_per_second)
    admission = Admission(authenticate=authenticate_key, limiter=limiter, picture_gate=picture_gate)
    gate = GateLayer(app, admission=admission, limits=limits)
    deadline = DeadlineLayer(gate, Deadlines(predict_seconds=settings.predict_timeout_seconds))
    return RequestIdLayer(UnreadBodyLayer(deadline))


def make_document(settings: Settings) -> Document:
    """The OpenAPI document, also without any server."""
    return openapi.build(_make_fastapi(_make_services(settings)))


def _make_services(settings: Settings) -> Services:
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    sessions = make_session_factory(engine)
    storage = Storage.from_settings(settings, IMPATIENT)
    dispatcher = Dispatcher(settings.broker_url.get_secret_value())
    lookups = Lookups(settings.database_url.get_secret_value())
    shared_reads = SharedReads()
    return Services(
        settings=settings,
        engine=engine,
        sessions=sessions,
        lookups=lookups,
        session_slots=asyncio.Semaphore(settings.database_pool_size),
        run_watch=RunWatch(sessions),
        shared_reads=shared_reads,
        storage=storage,
        dispatcher=dispatcher,
        quotas=Quotas.from_settings(settings),
        rate_limiter=RateLimiter(settings.broker_url.get_secret_value()),
        probes=Probes(list_checks(engine, dispatcher, storage)),
        decode_pool=DecodePool.from_settings(settings),
        picture_gate=PictureGate(max_pictures=settings.predict_waiting_images),
        picture_fetcher=PictureFetcher.from_settings(settings),
        servable_models=ServableModels(lookups, shared_reads),
        model_cache=ModelCache(
            capacity_bytes=settings.model_cache_bytes,
            loader=ModelLoader(settings, sessions=sessions, storage=storage),
            batcher=Batcher(
                max_batch=settings.predict_batch_size,
                num_threads=settings.simultaneous_predictions,
                cores_a_batch=settings.predict_threads,
                count_idle_cores=count_idle_cores,
            ),
        ),
    )


def _make_fastapi(services: Services) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.decode_pool.start()
        gc.collect()
        gc.freeze()  # what imports made stays: to look through it again and again took a quarter of the loop's time
        yield
        services.run_watch.close()
        services.model_cache.close()
        services.decode_pool.close()
        services.picture_fetcher.close()
        services.dispatcher.close()
        services.rate_limiter.close()
        services.lookups.close()
        services.engine.dispose()

    app = FastAPI(
        title="Bitune",
        version=version("bitune"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        dependencies=[Depends(refuse_unknown_parameters)],
        responses={status: {"model": Problem} for status in (401, 403, 404, 422, 429, 503)},
    )
    app.state.services = services
    add_error_handlers(app)
    # Predict first: routes are tried in order, and nothing else is asked as often.
    for module in (predictions, operations, keys, uploads, datasets, samples, jobs, previews, models):
        app.include_router(module.router)
    app.openapi = partial(_get_document, app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _get_document(app: FastAPI) -> Document:
    """Built once."""
    if app.openapi_schema is None:
        app.openapi_schema = openapi.build(app)
    return app.openapi_schema


def _authenticate(lookups: Lookups, requests_per_second: int | None, secret: str) -> Principal:
    return lookups.read(partial(authenticate, secret=secret, requests_per_second=requests_per_second))
