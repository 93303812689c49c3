"""A FastAPI app inside the layers of the real one, whose only route returns a constant."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from api.deadline import DeadlineLayer, Deadlines
from api.errors import add_error_handlers
from api.layers import BodyLimits, GateLayer, RequestIdLayer
from api.limits import RateLimiter
from core.db.session import make_engine, make_session_factory
from core.keys import Principal, authenticate
from core.log import configure_logging
from core.settings import Settings


def create_app() -> ASGIApp:
    settings = Settings()
    configure_logging(settings.log_level)
    engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
    sessions = make_session_factory(engine)

    def find_principal(secret: str) -> Principal:
        with sessions.begin() as session:
            return authenticate(session, secret, requests_per_second=settings.quota_requests_per_second)

    limits = BodyLimits(upload_bytes=0, predict_bytes=0, json_bytes=settings.max_json_bytes)
    limiter = RateLimiter(settings.broker_url.get_secret_value())
    gate = GateLayer(_make_fastapi(), authenticate=find_principal, limiter=limiter, limits=limits)
    return RequestIdLayer(DeadlineLayer(gate, Deadlines()))


def _make_fastapi() -> FastAPI:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/jobs/{job_id}")
    def get_job(job_id: str) -> dict[str, str]:
        return {"id": job_id, "status": "running"}

    return app
