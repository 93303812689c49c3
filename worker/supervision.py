"""What runs of a trainer share: GPUs while it lives, and a thread that stops it in time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.context import WorkerContext
from worker.heartbeat import Heartbeat
from worker.outcomes import StopReason
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


@contextmanager
def lent_gpus(context: WorkerContext, beat: Heartbeat, count: int) -> Iterator[list[str]]:
    """Waits for as many to be free; raises StopReason when the run is stopped meanwhile."""
    with context.gpus.lend(count, should_stop=lambda: is_stopped(context, beat)) as devices:
        if len(devices) < count:
            raise StopReason(beat.why)
        yield devices


def is_stopped(context: WorkerContext, beat: Heartbeat) -> bool:
    return beat.stop.is_set() or context.stopping.is_set()


def _watch(process: TrainerProcess, context: WorkerContext, beat: Heartbeat) -> None:
    while process.is_alive():
        if beat.stop.wait(WATCH_SECONDS) or context.stopping.is_set():
            process.stop(_grace_seconds(context, beat))
            return


def _grace_seconds(context: WorkerContext, beat: Heartbeat) -> float:
    if beat.lost:
        return 0.0
    return context.settings.stop_grace_seconds if beat.stop.is_set() else context.settings.handback_grace_seconds
