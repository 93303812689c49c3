"""What all who start a trainer process share: a thread that stops it in time, or when it hangs."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import assert_never

import structlog

from core.runs.types import Signal
from worker.context import WorkerContext
from worker.heartbeat import Heartbeat
from worker.trainer_process import TrainerProcess

log = structlog.get_logger()

WATCH_SECONDS = 0.2


@contextmanager
def attended(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> Iterator[None]:
    """A thread of its own stops it: storing what it said may take longer than a cancel may. It is gone at the end.

    Its GPUs are free from then on, whatever is still to be stored.
    """
    watcher = threading.Thread(target=_watch, args=(process, context, beat), name="trainer-watch")
    watcher.start()
    try:
        yield
    finally:
        process.close()
        watcher.join()
        _free_gpus(process, context, beat)


def _free_gpus(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> None:
    if not process.is_stuck:
        context.gpus.give_back(beat.held)
        return
    log.error("trainer_cannot_be_killed", pids=process.pids, gpus=beat.held.gpus)
    context.gpus.withhold(beat.held)


def _watch(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> None:
    while not beat.stop.is_set() and not context.stopping.is_set():
        if not process.is_alive():
            return
        if process.silent_seconds > context.settings.stall_seconds:
            process.kill_stalled()
            return
        beat.stop.wait(WATCH_SECONDS)
    _end(process, context, beat)


def _end(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> None:
    """SIGTERM lets it write a checkpoint. The grace may shrink meanwhile: a cancel comes into a hand-back."""
    asked_at = time.monotonic()
    process.terminate()
    while process.is_alive() and time.monotonic() - asked_at < _choose_grace_seconds(context, beat):
        time.sleep(WATCH_SECONDS)
    process.kill()


def _choose_grace_seconds(context: WorkerContext, beat: Heartbeat) -> float:
    if beat.lost:
        return 0.0
    match beat.why:
        case Signal.CANCEL | Signal.OUT_OF_TIME:
            return context.settings.stop_grace_seconds
        case Signal.PAUSE:
            return context.settings.pause_grace_seconds
        case Signal.GO_ON:
            return context.settings.handback_grace_seconds
        case _:
            assert_never(beat.why)
