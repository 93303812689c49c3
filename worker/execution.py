"""Claims runs and brings each to one end, whatever happens on the way."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import assert_never

import structlog
from sqlalchemy.orm import Session

from core import datasets
from core.errors import InvalidInputError
from core.runs import claims
from core.runs.types import Claim, FailureClass, LostClaimError, RunKind, Signal
from worker.context import WorkerContext
from worker.heartbeat import Heartbeat
from worker.importer import run_import
from worker.outcomes import (
    OUT_OF_TIME,
    AttemptFailedError,
    StopReason,
    describe_crash,
    describe_error,
    describe_outage,
)
from worker.patience import OUTAGES, outwait
from worker.prober import run_probe
from worker.trainer import run_training

log = structlog.get_logger()


def drain(context: WorkerContext) -> None:
    """Runs one run after another until nothing is left to claim, or this worker shuts down."""
    while not context.stopping.is_set():
        with context.transaction() as session:
            held = claims.claim(
                session,
                queue=context.settings.worker_queue,
                worker_id=context.worker_id,
                lease_seconds=context.settings.lease_seconds,
            )
        if held is None:
            return
        with structlog.contextvars.bound_contextvars(run_id=held.run_id, attempt=held.attempt):
            execute(context, held)


def execute(context: WorkerContext, held: Claim) -> None:
    log.info("run_started", kind=held.kind)
    with context.work_dirs.attempt(held) as work_dir, Heartbeat(context, held) as beat:
        try:
            _run(context, held, beat, work_dir)
            log.info("run_succeeded")
        except LostClaimError:
            log.warning("run_lost")
        except StopReason as stop:
            _end(context, beat, partial(_stop, held=held, signal=stop.signal))
        except AttemptFailedError as exc:
            _fail(context, held, beat, exc)
        except InvalidInputError as exc:
            _fail(context, held, beat, describe_error(exc))
        except OUTAGES as exc:
            _fail(context, held, beat, describe_outage(exc))
        except Exception as exc:
            log.exception("run_crashed")
            _fail(context, held, beat, describe_crash(exc))


def _run(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path) -> None:
    match held.kind:
        case RunKind.TRAIN:
            run_training(context, held, beat, work_dir)
        case RunKind.IMPORT:
            run_import(context, held, beat, work_dir)
        case RunKind.PROBE:
            run_probe(context, held, beat, work_dir)
        case _:
            assert_never(held.kind)


def _stop(session: Session, *, held: Claim, signal: Signal) -> None:
    match signal:
        case Signal.CANCEL:
            claims.stop_cancelled(session, held)
        case Signal.OUT_OF_TIME:
            claims.fail(session, held, FailureClass.USER, OUT_OF_TIME)
        case Signal.GO_ON:
            claims.hand_back(session, held, "its worker shuts down")
        case _:
            assert_never(signal)


def _fail(context: WorkerContext, held: Claim, beat: Heartbeat, failed: AttemptFailedError) -> None:
    log.warning("run_failed", code=failed.reason.code, failure=failed.failure, reason=failed.reason.message)
    fail = datasets.fail_import if held.kind is RunKind.IMPORT else claims.fail
    _end(context, beat, lambda session: fail(session, held, failed.failure, failed.reason))


def _end(context: WorkerContext, beat: Heartbeat, write: Callable[[Session], None]) -> None:
    """The last write of an attempt. If the claim is lost meanwhile, or the database stays away, the sweep decides."""
    if beat.lost:
        return

    def commit() -> None:
        with context.transaction() as session:
            write(session)

    try:
        outwait(commit, seconds=context.settings.lease_seconds, stop=context.stopping)
    except (LostClaimError, *OUTAGES) as exc:
        log.warning("end_not_written", error=type(exc).__name__)
