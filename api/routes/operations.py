"""Health, workers and backbones, for operators."""

from collections.abc import Callable
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from sqlalchemy import text

from api.deps import ServicesDep, SessionDep
from api.schemas.operations import Alive, BackboneList, BackboneOut, Readiness, WorkerList, WorkerOut
from api.services import Services
from core import workers
from core.backbones import list_backbones
from core.db.migrate import is_current
from core.specs import BackboneDescription

log = structlog.get_logger()
router = APIRouter(tags=["operations"])


@router.get("/livez")
def check_alive() -> Alive:
    return Alive()


@router.get("/readyz", responses={503: {"model": Readiness}})
def check_ready(services: ServicesDep, response: Response) -> Readiness:
    """Each server by name; without the broker the service still works, with up to 30 s more until a job starts."""
    checks: dict[str, Literal["ok", "failed"]] = {
        "database": _probe("database", lambda: _check_database(services)),
        "migrations": _probe("migrations", lambda: _check_migrations(services)),
        "broker": _probe("broker", services.dispatcher.check),
        "storage": _probe("storage", services.storage.check),
    }
    failed = {name for name, result in checks.items() if result == "failed"}
    if failed <= {"broker"}:
        return Readiness(status="degraded" if failed else "ok", checks=checks)
    response.status_code = 503
    response.headers["Retry-After"] = "5"
    return Readiness(status="unavailable", checks=checks)


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


def _check_database(services: Services) -> None:
    with services.engine.connect() as connection:
        connection.execute(text("select 1"))


def _check_migrations(services: Services) -> None:
    if not is_current(services.engine):
        raise RuntimeError("the database is not at the newest migration; run `bitune migrate`")


def _probe(name: str, check: Callable[[], None]) -> Literal["ok", "failed"]:
    try:
        check()
    except Exception as exc:  # noqa: BLE001 - whatever a server does, the answer is that it is not ready
        log.warning("not_ready", check=name, error=type(exc).__name__)
        return "failed"
    return "ok"
