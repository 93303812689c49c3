"""What runs of a trainer share: a thread that stops it in time, or when it hangs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from core.runs.types import Signal
from worker.context import WorkerContext
from worker.heartbeat import Heartbeat
from worker.trainer_process import TrainerProcess

WATCH_SECONDS = 0.2


@contextmanager
def attended(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> Iterator[None]:
    """A thread of its own stops it: storing what it said may take longer than a cancel may. It is gone at the end."""
    watcher = threading.Thread(target=_watch, args=(process, context, beat), name="trainer-watch")
    watcher.start()
    try:
        yield
    finally:
        process.close()
        watcher.join()


def is_stopped(context: WorkerContext, beat: Heartbeat) -> bool:
    return beat.stop.is_set() or context.stopping.is_set()


def _watch(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> None:
    while process.is_alive():
        if process.silent_seconds > context.settings.stall_seconds:
            process.kill_stalled()
            return
        if beat.stop.wait(WATCH_SECONDS) or context.stopping.is_set():
            process.stop(_grace_seconds(context, beat))
            return


def _grace_seconds(context: WorkerContext, beat: Heartbeat) -> float:
    if beat.lost:
        return 0.0
    if beat.why is Signal.PAUSE:
        return context.settings.pause_grace_seconds
    return context.settings.stop_grace_seconds if beat.stop.is_set() else context.settings.handback_grace_seconds
