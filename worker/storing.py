"""Carries what an attempt made into the store, in a thread of its own: neither training nor a cancel waits for it."""

import shutil
import threading
from collections import deque
from collections.abc import Callable

import structlog

from core.log import keep_ids
from core.trainer_protocol import CheckpointSaved

log = structlog.get_logger()

MAX_CHECKPOINTS = 2  # on their way; each takes space on this host's disk
WAIT_SECONDS = 0.2


class Storing:
    """The first error ends it; `check` and `wait` raise it. What hangs at the end is left behind: its row is fenced."""

    def __init__(self, *, store_checkpoint: Callable[[CheckpointSaved], None], flush: Callable[[], None]) -> None:
        self._store_checkpoint = store_checkpoint
        self._flush = flush
        self._checkpoints: deque[CheckpointSaved] = deque()  # the first one may be on its way
        self._wants_flush = False
        self._error: Exception | None = None
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=keep_ids(self._run), name="storing", daemon=True).start()

    def add_checkpoint(self, line: CheckpointSaved) -> None:
        """With two on their way already, the one that has not begun gives way: only the newest counts."""
        with self._changed:
            if len(self._checkpoints) == MAX_CHECKPOINTS:
                dropped = self._checkpoints.pop()
                log.warning("checkpoint_dropped", step=dropped.step, newer=line.step)
                shutil.rmtree(dropped.directory, ignore_errors=True)
            self._checkpoints.append(line)
            self._changed.notify_all()

    def request_flush(self) -> None:
        with self._changed:
            self._wants_flush = True
            self._changed.notify_all()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def wait(self, give_up: Callable[[], bool]) -> None:
        """Until all is stored, or `give_up` says that it has taken too long."""
        with self._changed:
            while self._has_work() and self._error is None and not give_up():
                self._changed.wait(WAIT_SECONDS)
        self.check()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_work(self) -> bool:
        return self._wants_flush or bool(self._checkpoints)

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._do_next()
        except Exception as exc:  # noqa: BLE001 - raised again where the attempt is run
            self._error = exc
        with self._changed:
            self._changed.notify_all()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not self._has_work() and not self._ended:
                self._changed.wait()
            return not self._ended

    def _do_next(self) -> None:
        """Checkpoints first: they are what a crash would cost."""
        if self._checkpoints:
            line = self._checkpoints[0]
            self._store_checkpoint(line)
            shutil.rmtree(line.directory, ignore_errors=True)
            with self._changed:
                self._checkpoints.popleft()
                self._changed.notify_all()
            return
        self._wants_flush = False
        self._flush()
