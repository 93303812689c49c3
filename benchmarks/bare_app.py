"""A FastAPI app inside the layers of the real one, whose only route returns a constant."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from api.errors import add_error_handlers
from api.limits import RateLimiter
from api.main import add_layers
from api.picture_gate import PictureGate
from core.db.lookups import Lookups
from core.log import configure_logging
from core.settings import Settings


def create_app() -> ASGIApp:
    settings = Settings()
    configure_logging(settings.log_level)
    lookups = Lookups(settings.database_url.get_secret_value())
    limiter = RateLimiter(settings.broker_url.get_secret_value())
    gate = PictureGate(max_pictures=settings.predict_waiting_images)
    return add_layers(_make_fastapi(), settings, lookups, limiter, gate)


def _make_fastapi() -> FastAPI:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/jobs/{job_id}")
    def get_job(job_id: str) -> dict[str, str]:
        return {"id": job_id, "status": "running"}

    return app
