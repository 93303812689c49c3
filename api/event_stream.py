"""The events of a job as a stream (server-sent events): resumable by `Last-Event-ID`, without a gap or a double."""

from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

from sqlalchemy.orm import Session

from api.schemas.jobs import EventOut, render_event
from api.services import Services
from core import jobs, keys
from core.db.session import DATABASE_OUTAGES
from core.errors import BituneError
from core.keys import Principal
from core.runs import lifecycle

BATCH = 100
ALIVE_SECONDS = 15.0  # between two signs of life, for proxies that cut what is silent
RETRY_MILLISECONDS = 2000  # after which a client comes again
ALIVE = ": alive\n\n"
MEDIA_TYPE = "text/event-stream"


class Batch(NamedTuple):
    """What came after a position, and whether there is more to come."""

    run_id: str
    events: list[EventOut]
    seen: int  # the number of the last of them, or where the reader stood: never beyond the run's last
    is_last: bool


async def stream_events(services: Services, principal: Principal, job_id: str, first: Batch) -> AsyncIterator[str]:
    """Ends after the terminal event, and when the key is revoked, the job deleted or the database away."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    batch = first
    while True:
        for event in batch.events:
            yield _format(event)
        if batch.is_last:
            return
        while len(batch.events) < BATCH and not await _is_more(services, principal, batch):
            yield ALIVE
        try:
            batch = await services.shared_reads.read(
                ("events", principal.key_id, job_id, batch.seen),
                partial(read_batch, services, principal, job_id, batch.seen),
            )
        except (BituneError, *DATABASE_OUTAGES):
            return


def read_batch(services: Services, principal: Principal, job_id: str, after: int) -> Batch:
    """The run's state is read before its events: a terminal one has its last event among them."""
    with services.transaction() as session:
        keys.require_valid(session, principal.key_id)
        return _read(session, principal.project_id, job_id, after)


def _read(session: Session, project_id: str, job_id: str, after: int) -> Batch:
    run = jobs.get_job(session, project_id, job_id).run
    is_over = lifecycle.is_terminal(run)
    stood_at = min(after, run.event_seq)
    events = [render_event(event) for event in lifecycle.list_events(session, run.id, after=stood_at, limit=BATCH)]
    seen = events[-1].id if events else stood_at
    return Batch(run.id, events, seen, is_last=is_over and len(events) < BATCH)


async def _is_more(services: Services, principal: Principal, batch: Batch) -> bool:
    woken = await services.run_watch.wait(
        principal, batch.run_id, lambda version: version.event_seq > batch.seen, seconds=ALIVE_SECONDS
    )
    return woken is not None


def _format(event: EventOut) -> str:
    return f"id: {event.id}\ndata: {event.model_dump_json()}\n\n"
