"""Claims runs and brings each to one end, whatever happens on the way."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import assert_never

import structlog
from sqlalchemy.orm import Session

from core import datasets, job_records
from core.errors import InvalidInputError
from core.quotas import QuotaError
from core.runs import claims
from core.runs.types import Claim, FailureClass, GpuOffer, LostClaimError, RunKind, Signal
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat
from worker.importer import run_import
from worker.outcomes import (
    OUT_OF_TIME,
    AttemptFailedError,
    StopReason,
    describe_crash,
    describe_error,
)
from worker.patience import OUTAGES, outwait
from worker.prober import run_probe
from worker.trainer import run_training

log = structlog.get_logger()

OUTAGE_REST_SECONDS = 30.0  # before a run is tried again that a server's absence has stopped


def drain(context: WorkerContext, wake: Callable[[], None]) -> None:
    """Runs one run after another until nothing is left to claim, or this worker shuts down.

    `wake` starts another slot: where one run was, there may be more.
    """
    while not context.stopping.is_set():
        with context.gpus.lend(partial(_claim, context)) as lent:
            if lent is None:
                return
            wake()
            execute(context, lent.held, lent.devices)
        structlog.contextvars.clear_contextvars()


def _claim(context: WorkerContext, offer: GpuOffer) -> Claim | None:
    """Binds the ids of what it claims to all that this thread logs."""
    with context.transaction() as session:
        held = claims.claim(
            session,
            queue=context.settings.worker_queue,
            worker_id=context.worker_id,
            lease_seconds=context.settings.lease_seconds,
            gpus=offer,
            max_running=context.settings.quota_running_jobs if context.settings.worker_queue == "train" else None,
        )
        if held is not None:
            structlog.contextvars.bind_contextvars(
                run_id=held.run_id, attempt=held.attempt, **_name_subject(session, held)
            )
    return held


def _name_subject(session: Session, held: Claim) -> dict[str, str | None]:
    match held.kind:
        case RunKind.TRAIN:
            return {"job_id": job_records.find_job_id(session, held.run_id)}
        case RunKind.IMPORT:
            return {"dataset_id": datasets.find_dataset_id(session, held.run_id)}
        case RunKind.PROBE:
            return {}
        case _:
            assert_never(held.kind)


def execute(context: WorkerContext, held: Claim, devices: list[str]) -> None:
    """`devices`: the GPUs that are the run's until it ends."""
    log.info("run_started", kind=held.kind, gpus=devices)
    with Heartbeat(context, held) as beat:
        try:
            with context.work_dirs.attempt(held) as work_dir:
                _run(context, held, beat, work_dir, devices)
            log.info("run_succeeded")
        except LostClaimError:
            log.warning("run_lost")
        except StopReason as stop:
            _end(context, beat, partial(_stop, held=held, signal=stop.signal))
        except AttemptFailedError as exc:
            _fail(context, held, beat, exc)
        except (InvalidInputError, QuotaError) as exc:
            _fail(context, held, beat, describe_error(exc))
        except OUTAGES as exc:
            log.warning("run_handed_back", error=type(exc).__name__)
            _end(context, beat, partial(_hand_back, held=held, error=exc))
        except Exception as exc:
            log.exception("run_crashed")
            _fail(context, held, beat, describe_crash(exc))


def _run(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path, devices: list[str]) -> None:
    match held.kind:
        case RunKind.TRAIN:
            run_training(context, held, beat, work_dir, devices)
        case RunKind.IMPORT:
            run_import(context, held, beat, work_dir)
        case RunKind.PROBE:
            run_probe(context, held, beat, work_dir, devices)
        case _:
            assert_never(held.kind)


def _stop(session: Session, *, held: Claim, signal: Signal) -> None:
    match signal:
        case Signal.CANCEL:
            claims.stop_cancelled(session, held)
        case Signal.PAUSE:
            claims.stop_paused(session, held)
        case Signal.OUT_OF_TIME:
            claims.fail(session, held, FailureClass.USER, OUT_OF_TIME)
        case Signal.GO_ON:
            claims.hand_back(session, held, "its worker shuts down")
        case _:
            assert_never(signal)


def _hand_back(session: Session, *, held: Claim, error: Exception) -> None:
    """The store or the database stayed away: nobody's fault, so nothing is charged."""
    message = f"a server was away for too long ({type(error).__name__})"
    claims.hand_back(session, held, message, delay_seconds=OUTAGE_REST_SECONDS)


def _fail(context: WorkerContext, held: Claim, beat: Heartbeat, failed: AttemptFailedError) -> None:
    log.warning("run_failed", code=failed.reason.code, failure=failed.failure, reason=failed.reason.message)
    _end(context, beat, lambda session: claims.fail(session, held, failed.failure, failed.reason))


def _end(context: WorkerContext, beat: Heartbeat, write: Callable[[Session], None]) -> None:
    """The last write of an attempt. If the claim is lost meanwhile, or the database stays away, the sweep decides."""
    if beat.lost:
        return

    def commit() -> None:
        with context.transaction() as session:
            write(session)

    try:
        outwait(commit, seconds=context.settings.outage_seconds, give_up=Ending(context, beat).must_leave)
    except (LostClaimError, *OUTAGES) as exc:
        log.warning("end_not_written", error=type(exc).__name__)
