"""Jobs: post, poll, cancel; their checkpoints, metrics and log."""

from functools import partial
from itertools import chain, islice
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from api.deadline import MAX_WAIT_SECONDS
from api.deps import NameFilter, PageDep, PrincipalDep, ServicesDep, SessionDep
from api.event_stream import MEDIA_TYPE, read_batch, stream_events
from api.idempotency import OnceDep, create_once, created
from api.query import MetadataFilterDep
from api.run_watch import Version
from api.schemas.common import Download, DownloadPart, ListOf, Problem
from api.schemas.jobs import (
    CheckpointList,
    EventList,
    JobCreate,
    JobOut,
    render_checkpoints,
    render_events,
    render_job,
)
from api.schemas.lists import render_list
from api.schemas.metrics import SERIES, MetricPoint, format_csv, render_series
from api.services import Services
from core import jobs, keys
from core.checkpoints import read_manifest
from core.idempotency import Answer
from core.ingest.sources import check_source
from core.jobs import JobFilter
from core.keys import Principal
from core.metric_series import read_log, read_series
from core.runs import lifecycle
from core.storage_keys import checkpoint_prefix

router = APIRouter(prefix="/jobs", tags=["jobs"])
JobId = Annotated[str, Path(max_length=64)]
MAX_SEQ = 2**31 - 1


class _SeenJob(NamedTuple):
    """A job as it was answered, and what a change of it is told by."""

    body: str
    run_id: str
    version: Version
    is_over: bool


@router.post("", status_code=202, response_model=JobOut, responses={409: {"model": Problem}, 422: {"model": Problem}})
def create_job(body: JobCreate, services: ServicesDep, principal: PrincipalDep, once: OnceDep) -> Response:
    """Fine-tunes a backbone on a dataset; with `dataset_url` the dataset is imported first."""
    if body.dataset_url is not None:
        check_source(body.dataset_url, services.settings)

    def create(session: Session) -> Answer:
        state = jobs.create_job(
            session,
            project_id=principal.project_id,
            spec=body.spec(),
            dataset_id=body.dataset_id,
            dataset_url=body.dataset_url,
            name=body.name,
            metadata=body.metadata,
            configured_gpus=services.settings.configured_gpus,
            quotas=services.quotas,
        )
        return created(render_job(state), status_code=202, location=f"/jobs/{state.job.id}")

    return create_once(services, once, create)


@router.get("")
def list_jobs(
    session: SessionDep,
    services: ServicesDep,
    principal: PrincipalDep,
    page: PageDep,
    metadata: MetadataFilterDep,
    status: lifecycle.ShownStatus | None = None,
    name: NameFilter = None,
) -> ListOf[JobOut]:
    """The newest first; `metadata[team]=pv` lists what carries this label."""
    wanted = JobFilter(status=status, name=name, metadata=metadata)
    found = jobs.list_jobs(session, principal.project_id, page, wanted, services.quotas)
    return render_list([render_job(state) for state in found.rows], has_more=found.has_more)


@router.get("/{job_id}", response_model=JobOut)
async def get_job(
    job_id: JobId,
    services: ServicesDep,
    principal: PrincipalDep,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the next change")] = 0,
) -> Response:
    """With `wait`, answers at the next change of status, progress or events, and at once when the job has ended."""
    seen = await run_in_threadpool(_read_job, services, principal, job_id)
    if wait and not seen.is_over:
        services.run_watch.require_room(principal)
        woken = await services.run_watch.wait(
            principal, seen.run_id, lambda version: version != seen.version, seconds=wait
        )
        seen = await services.shared_reads.read(
            ("job", principal.key_id, job_id, woken), partial(_read_job_again, services, principal, job_id)
        )
    return Response(seen.body, media_type="application/json")


@router.post("/{job_id}/cancel", status_code=202, responses={409: {"model": Problem}})
def cancel_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> JobOut:
    return render_job(jobs.cancel_job(session, principal.project_id, job_id))


@router.post("/{job_id}/pause", status_code=202, responses={409: {"model": Problem}})
def pause_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> JobOut:
    """The job leaves its GPU within 10 s, and waits for `/resume` once its checkpoint is stored."""
    return render_job(jobs.pause_job(session, principal.project_id, job_id))


@router.post("/{job_id}/resume", status_code=202, responses={409: {"model": Problem}})
def resume_job(job_id: JobId, session: SessionDep, services: ServicesDep, principal: PrincipalDep) -> JobOut:
    return render_job(jobs.resume_job(session, principal.project_id, job_id, services.quotas))


@router.delete("/{job_id}", status_code=204, responses={409: {"model": Problem}})
def delete_job(job_id: JobId, session: SessionDep, principal: PrincipalDep) -> Response:
    jobs.delete_job(session, principal.project_id, job_id)
    return Response(status_code=204)


@router.get("/{job_id}/events", response_model=EventList, responses={200: {"content": {MEDIA_TYPE: {}}}})
async def list_events(
    job_id: JobId,
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    after: Annotated[int, Query(ge=0, le=MAX_SEQ, description="`last_id` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    last_event_id: Annotated[int, Header(ge=0, le=MAX_SEQ, description="As `after`, for a stream that goes on")] = 0,
) -> Response:
    """What happened to the job, the oldest first; with `Accept: text/event-stream` a stream that ends with the job."""
    if MEDIA_TYPE not in request.headers.get("accept", ""):
        page = await run_in_threadpool(_list_events, services, principal, job_id, after, limit)
        return Response(page.model_dump_json(), media_type="application/json")
    services.run_watch.require_room(principal)
    first = await run_in_threadpool(read_batch, services, principal, job_id, max(after, last_event_id))
    stream = stream_events(services, principal, job_id, first)
    return StreamingResponse(stream, media_type=MEDIA_TYPE, headers={"Cache-Control": "no-store"})


@router.get(
    "/{job_id}/metrics",
    response_model=dict[str, list[MetricPoint]],
    responses={200: {"content": {"text/csv": {"example": "name,step,epoch,value,at\n"}}}},
)
def get_metrics(
    job_id: JobId,
    request: Request,
    services: ServicesDep,
    principal: PrincipalDep,
    name: Annotated[str | None, Query(description="This metric alone", max_length=100)] = None,
    max_points: Annotated[
        int | None, Query(ge=3, le=100_000, description="Of each series; those are kept that make its shape")
    ] = None,
) -> Response:
    """The series of every metric, a few seconds behind a running job; as a table with `Accept: text/csv`."""
    with services.transaction() as session:
        segments = jobs.list_segments(jobs.get_job(session, principal.project_id, job_id))
    series = render_series(read_series(services.storage, job_id, segments), name, max_points=max_points)
    if "text/csv" in request.headers.get("accept", ""):
        return Response(format_csv(series), media_type="text/csv")
    return Response(SERIES.dump_json(series), media_type="application/json")


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


def _read_job_again(services: Services, principal: Principal, job_id: str) -> _SeenJob:
    with services.transaction() as session:
        keys.require_valid(session, principal.key_id)
    return _read_job(services, principal, job_id)


def _read_job(services: Services, principal: Principal, job_id: str) -> _SeenJob:
    """One thread from the first query to the last byte: none waits for another while it holds a connection."""
    with services.transaction() as session:
        state = jobs.get_job(session, principal.project_id, job_id, services.quotas)
        return _SeenJob(
            body=render_job(state).model_dump_json(),
            run_id=state.run.id,
            version=Version(state.run.event_seq, state.run.progress),
            is_over=lifecycle.is_terminal(state.run),
        )


def _list_events(services: Services, principal: Principal, job_id: str, after: int, limit: int) -> EventList:
    with services.transaction() as session:
        run = jobs.get_job(session, principal.project_id, job_id).run
        return render_events(lifecycle.list_events(session, run.id, after=after, limit=limit + 1), limit=limit)
