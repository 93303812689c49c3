"""Before a job: what it would be, how long it would take, and what can be asked."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from api.deadline import MAX_WAIT_SECONDS, VALIDATE_WAIT_SECONDS
from api.deps import PrincipalDep, ServicesDep
from api.schemas.jobs import JobCreate
from api.schemas.previews import BackboneChoice, EstimateStatus, JobSchema, PreviewOut, render_preview
from api.schemas.spec_fields import list_fields
from api.services import Services
from core import speeds
from core.backbones import list_backbones
from core.db.tables import Backbone
from core.ingest.sources import check_source
from core.previews import Preview, find_subject, preview
from core.quotas import charge_job
from core.runs import lifecycle
from core.specs import BackboneDescription
from core.speeds import Estimate, JobSize
from core.storage import Storage
from core.storage_keys import backbone_key

POLL_SECONDS = 0.5

router = APIRouter(tags=["jobs"])


@router.post("/jobs/validate")
async def validate_job(
    body: JobCreate,
    services: ServicesDep,
    principal: PrincipalDep,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the probe that an estimate needs")
    ] = VALIDATE_WAIT_SECONDS,
) -> PreviewOut:
    """The same body as `POST /jobs`; creates nothing. Where nothing like it was measured yet, a worker tries a few
    steps first: ask again, or wait longer, while `estimate_status` is `probing`."""
    found = await run_in_threadpool(_preview, services, principal.project_id, body)
    if found.size is None:
        return render_preview(found, None, "unavailable")
    estimate, status = await _wait_for_estimate(services, principal.project_id, found.size, wait)
    return render_preview(found, estimate, status)


@router.get("/job-schema")
def get_job_schema(services: ServicesDep) -> JobSchema:
    """Every field of a job with its default, range and meaning, and the backbones that are registered here."""
    with services.transaction() as session:
        rows = list_backbones(session)
    schema = JobCreate.model_json_schema()
    backbones = [_describe_backbone(services.storage, row) for row in rows]
    return JobSchema(fields=list_fields(schema), backbones=backbones, json_schema=schema)


def _describe_backbone(storage: Storage, row: Backbone) -> BackboneChoice:
    description = BackboneDescription.model_validate(row.description)
    return BackboneChoice(
        name=row.name,
        num_parameters=description.num_parameters,
        image_size=description.image_size,
        weights_at_hand=storage.exists(backbone_key(row.name, row.sha256)),
    )


def _preview(services: Services, project_id: str, body: JobCreate) -> Preview:
    if body.dataset_url is not None:
        check_source(body.dataset_url, services.settings)
    with services.transaction() as session:
        subject = find_subject(
            session,
            project_id,
            body.spec(),
            dataset_id=body.dataset_id,
            dataset_url=body.dataset_url,
        )
    return preview(services.storage, body.spec(), subject)


async def _wait_for_estimate(
    services: Services, project_id: str, size: JobSize, wait_seconds: float
) -> tuple[Estimate | None, EstimateStatus]:
    """Holds no session while it waits."""
    deadline = time.monotonic() + wait_seconds
    estimate, run_id = await run_in_threadpool(_find_or_probe, services, project_id, size)
    while run_id is not None:
        if await run_in_threadpool(_is_over, services, run_id):
            estimate = await run_in_threadpool(_find, services, size)
            return estimate, "probe_failed" if estimate is None else "measured"
        if time.monotonic() >= deadline:
            return None, "probing"
        await asyncio.sleep(POLL_SECONDS)
    return estimate, "measured"


def _find_or_probe(services: Services, project_id: str, size: JobSize) -> tuple[Estimate | None, str | None]:
    with services.transaction() as session:
        estimate = speeds.find_estimate(session, size)
        if estimate is not None:
            return estimate, None
        charge_job(session, project_id, services.quotas)
        return None, speeds.request_probe(session, project_id, size).id


def _find(services: Services, size: JobSize) -> Estimate | None:
    with services.transaction() as session:
        return speeds.find_estimate(session, size)


def _is_over(services: Services, run_id: str) -> bool:
    with services.transaction() as session:
        return lifecycle.is_over(session, run_id)
