"""Makes the API: `uvicorn --factory api.main:create_app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from starlette.types import ASGIApp

from api.deadline import DeadlineLayer, Deadlines
from api.decode_pool import DecodePool
from api.errors import add_error_handlers
from api.layers import BodyLimits, GateLayer, RequestIdLayer
from api.model_cache import ModelCache
from api.routes import datasets, jobs, keys, models, operations, predictions, previews, samples
from api.schemas.common import Problem
from api.services import Services
from core.db.session import SessionFactory, make_engine, make_session_factory
from core.dispatch import Dispatcher
from core.health import Probes, list_checks
from core.keys import Principal, authenticate
from core.log import configure_logging
from core.settings import Settings
from core.storage import Storage
from core.storage_client import IMPATIENT

DESCRIPTION = "Fine-tunes image classifiers with Bi-tuning: post a dataset and a job, poll it, call predict."


def create_app(settings: Settings | None = None) -> ASGIApp:
    """The finished app inside its layers."""
    settings = settings or Settings()
    configure_logging(settings.log_level)
    services = _make_services(settings)
    app = _make_fastapi(services)
    limits = BodyLimits(
        upload_bytes=settings.max_upload_bytes,
        predict_bytes=settings.max_predict_bytes,
        json_bytes=settings.max_json_bytes,
    )
    gate = GateLayer(app, authenticate=partial(_authenticate, services.sessions), limits=limits)
    return RequestIdLayer(DeadlineLayer(gate, Deadlines(predict_seconds=settings.predict_timeout_seconds)))


def _make_services(settings: Settings) -> Services:
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    sessions = make_session_factory(engine)
    storage = Storage.from_settings(settings, IMPATIENT)
    dispatcher = Dispatcher(settings.broker_url.get_secret_value())
    return Services(
        settings=settings,
        engine=engine,
        sessions=sessions,
        session_slots=asyncio.Semaphore(settings.database_pool_size),
        storage=storage,
        dispatcher=dispatcher,
        probes=Probes(list_checks(engine, dispatcher, storage)),
        decode_pool=DecodePool.from_settings(settings),
        model_cache=ModelCache.from_settings(settings, sessions=sessions, storage=storage),
    )


def _make_fastapi(services: Services) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.decode_pool.start()
        yield
        services.model_cache.close()
        services.decode_pool.close()
        services.dispatcher.close()
        services.engine.dispose()

    app = FastAPI(
        title="Bitune",
        version=version("bitune"),
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        responses={status: {"model": Problem} for status in (401, 403, 404, 422, 503)},
    )
    app.state.services = services
    add_error_handlers(app)
    for module in (operations, keys, datasets, samples, jobs, previews, models, predictions):
        app.include_router(module.router)
    return app


def _authenticate(sessions: SessionFactory, secret: str) -> Principal:
    with sessions() as session:
        return authenticate(session, secret)
