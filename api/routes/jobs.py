"""Jobs: post, poll, cancel; their checkpoints, metrics and log."""

from itertools import chain, islice
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from api.deps import PageDep, PrincipalDep, ServicesDep, SessionDep
from api.schemas.common import Download, DownloadPart, ListOf, Problem
from api.schemas.jobs import (
    CheckpointList,
    EventList,
    JobCreate,
    JobOut,
    MetricPoint,
    render_checkpoints,
    render_events,
    render_job,
    render_series,
)
from api.schemas.lists import render_list
from core import jobs
from core.checkpoints import read_manifest
from core.ingest.sources import check_source
from core.metric_series import read_log, read_series
from core.runs import lifecycle
from core.storage_keys import checkpoint_prefix

router = APIRouter(prefix="/jobs", tags=["jobs"])
JobId = Annotated[str, Path(max_length=64)]


@router.post("", status_code=202, responses={409: {"model": Problem}, 422: {"model": Problem}})
def create_job(
    body: JobCreate, response: Response, session: SessionDep, services: ServicesDep, principal: PrincipalDep
) -> JobOut:
    """Fine-tunes a backbone on a dataset; with `dataset_url` the dataset is imported first."""
    if body.dataset_url is not None:
        check_source(body.dataset_url, services.settings)
    state = jobs.create_job(
        session,
        project_id=principal.project_id,
        spec=body.spec(),
        dataset_id=body.dataset_id,
        dataset_url=body.dataset_url,
        name=body.name,
        metadata=body.metadata,
        configured_gpus=services.settings.configured_gpus,
    )
    response.headers["Location"] = f"/jobs/{state.job.id}"
    return render_job(state)


@router.get("")
def list_jobs(session: SessionDep, principal: PrincipalDep, page: PageDep) -> ListOf[JobOut]:
    found = jobs.list_jobs(session, principal.project_id, page)
    return render_list([render_job(state) for state in found.rows], has_more=found.has_more)


@router.get("/{job_id}", response_model=JobOut)
def get_job(job_id: JobId, services: ServicesDep, principal: PrincipalDep) -> Response:
    # One thread from the first query to the last byte: none waits for another while it holds a connection.
    with services.transaction() as session:
        body = render_job(jobs.get_job(session, principal.project_id, job_id)).model_dump_json()
    return Response(body, media_type="application/json")


@router.post("/{job_id}/cancel", status_code=202, responses={409: {"model": Problem}})
def cancel_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> JobOut:
    return render_job(jobs.cancel_job(session, principal.project_id, job_id))


@router.post("/{job_id}/pause", status_code=202, responses={409: {"model": Problem}})
def pause_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> JobOut:
    """The job leaves a checkpoint and its GPU within 10 s, and waits for `/resume`."""
    return render_job(jobs.pause_job(session, principal.project_id, job_id))


@router.post("/{job_id}/resume", status_code=202, responses={409: {"model": Problem}})
def resume_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> JobOut:
    return render_job(jobs.resume_job(session, principal.project_id, job_id))


@router.delete("/{job_id}", status_code=204, responses={409: {"model": Problem}})
def delete_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> Response:
    jobs.delete_job(session, principal.project_id, job_id)
    return Response(status_code=204)


@router.get("/{job_id}/events")
def list_events(
    job_id: JobId,
    session: SessionDep,
    principal: PrincipalDep,
    after: Annotated[int, Query(ge=0, description="`last_id` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> EventList:
    """What happened to the job, the oldest first."""
    state = jobs.get_job(session, principal.project_id, job_id)
    return render_events(lifecycle.list_events(session, state.run.id, after=after, limit=limit + 1), limit=limit)


@router.get("/{job_id}/metrics")
def get_metrics(
    job_id: JobId, services: ServicesDep, principal: PrincipalDep, name: str | None = None
) -> dict[str, list[MetricPoint]]:
    """The series of every metric, or of `name` alone; a few seconds behind a running job."""
    with services.transaction() as session:
        segments = jobs.list_segments(jobs.get_job(session, principal.project_id, job_id))
    return render_series(read_series(services.storage, job_id, segments), name)


@router.get("/{job_id}/log", response_class=StreamingResponse)
def get_log(job_id: JobId, services: ServicesDep, principal: PrincipalDep) -> StreamingResponse:
    """What the trainer printed."""
    with services.transaction() as session:
        segments = jobs.list_segments(jobs.get_job(session, principal.project_id, job_id))
    pieces = read_log(services.storage, job_id, segments)
    first = list(islice(pieces, 1))  # before the answer starts: a store that is away is a 503, not half a log
    return StreamingResponse(chain(first, pieces), media_type="text/plain")


@router.get("/{job_id}/checkpoints")
def list_checkpoints(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> CheckpointList:
    """The newest first; the best and the last ones are kept."""
    state = jobs.get_job(session, principal.project_id, job_id)
    return render_checkpoints(jobs.list_checkpoints(session, state.job.id))


@router.get("/{job_id}/checkpoints/{checkpoint_id}/download")
def download_checkpoint(
    job_id: JobId,
    checkpoint_id: Annotated[str, Path(max_length=64)],
    services: ServicesDep,
    principal: PrincipalDep,
) -> Download:
    with services.transaction() as session:
        checkpoint = jobs.get_checkpoint(session, principal.project_id, job_id, checkpoint_id)
    prefix = checkpoint_prefix(job_id, checkpoint.attempt, checkpoint.step)
    manifest = read_manifest(services.storage, prefix, sha256=checkpoint.manifest_sha256)
    return Download(
        parts=[
            DownloadPart(
                name=part.name,
                size_bytes=part.size_bytes,
                sha256=part.sha256,
                url=services.storage.presign_download(prefix + part.name, filename=part.name),
            )
            for part in manifest.parts
        ]
    )
