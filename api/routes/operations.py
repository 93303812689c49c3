"""Health, metrics, workers and backbones, for operators."""

from typing import Literal

import structlog
from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from api.deps import ServicesDep, SessionDep
from api.engine_metrics import render_metrics
from api.errors import RETRY_AFTER_SECONDS
from api.schemas.operations import Alive, BackboneList, BackboneOut, Readiness, WorkerList, WorkerOut
from core import workers
from core.backbones import list_backbones
from core.engine_state import read_engine_state
from core.specs import BackboneDescription

log = structlog.get_logger()
router = APIRouter(tags=["operations"])


@router.get("/livez")
async def check_alive() -> Alive:  # async, because it needs no thread: all of them may wait for a server that hangs
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness}})
async def check_ready(services: ServicesDep, response: Response) -> Readiness:
    """Each server by name; without the broker the service still works, with up to 30 s more until a job starts."""
    findings = await services.probes.ask()
    checks = {name: _report(name, error) for name, error in findings.items()}
    failed = {name for name, result in checks.items() if result == "failed"}
    if failed <= {"broker"}:
        return Readiness(status="degraded" if failed else "ok", checks=checks)
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Readiness(status="unavailable", checks=checks)


@router.get("/metrics", response_class=PlainTextResponse)
def get_metrics(session: SessionDep, services: ServicesDep) -> Response:
    """What the engine is doing, for Prometheus: queues, runs, attempts, failures by code, workers, sweep, store."""
    rendered = render_metrics(read_engine_state(session), storage_errors=services.storage.num_errors)
    return Response(rendered, media_type=CONTENT_TYPE_LATEST)


@router.get("/workers")
def list_workers(session: SessionDep) -> WorkerList:
    online = workers.list_online(session)
    return WorkerList(data=[WorkerOut.model_validate(row, from_attributes=True) for row in online])


@router.get("/backbones")
def get_backbones(session: SessionDep) -> BackboneList:
    rows = list_backbones(session)
    described = [(row, BackboneDescription.model_validate(row.description)) for row in rows]
    return BackboneList(
        data=[
            BackboneOut(
                name=row.name,
                sha256=row.sha256,
                size_bytes=row.size_bytes,
                image_size=description.image_size,
                num_features=description.num_features,
                num_parameters=description.num_parameters,
                created_at=row.created_at,
            )
            for row, description in described
        ]
    )


def _report(name: str, error: Exception | None) -> Literal["ok", "failed"]:
    if error is None:
        return "ok"
    log.warning("not_ready", check=name, error=type(error).__name__)
    return "failed"
