"""Carries what an attempt made into store and database, in a thread of its own: training never waits for a server."""

import shutil
import threading
from collections import deque
from collections.abc import Callable

import structlog

from core.log import keep_ids
from core.trainer_protocol import CheckpointSaved

log = structlog.get_logger()

Action = Callable[[], None]

MAX_CHECKPOINTS = 2  # on their way; each takes space on this host's disk
WAIT_SECONDS = 0.2


class Storing:
    """The first error ends it, and `check` raises it. What hangs at the end is left behind: its rows are fenced."""

    def __init__(self, store_checkpoint: Callable[[CheckpointSaved], None]) -> None:
        self._store_checkpoint = store_checkpoint
        self._checkpoints: deque[CheckpointSaved] = deque()  # the first one may be on its way
        self._actions: list[Action] = []
        self._is_busy = False
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

    def request(self, flush: Action) -> None:
        """After the checkpoints; once, however often it is asked for until it begins."""
        with self._changed:
            if flush not in self._actions:
                self._actions.append(flush)
            self._changed.notify_all()

    def check(self) -> None:
        if self._error is not None:
            raise self._error

    def wait(self, give_up: Callable[[], bool]) -> None:
        """Until all is stored, an error has ended it, or `give_up` says that it has taken too long."""
        with self._changed:
            while self._has_work() and self._error is None and not give_up():
                self._changed.wait(WAIT_SECONDS)

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _has_work(self) -> bool:
        return self._is_busy or bool(self._checkpoints or self._actions)

    def _run(self) -> None:
        try:
            while (action := self._wait_for_action()) is not None:
                action()
                self._note_done()
        except Exception as exc:  # noqa: BLE001 - raised again where the attempt is run
            self._error = exc
            self._note_done()

    def _wait_for_action(self) -> Action | None:
        """Checkpoints first: they are what a crash would cost."""
        with self._changed:
            while not self._has_work() and not self._ended:
                self._changed.wait()
            if self._ended:
                return None
            self._is_busy = True
            return self._store_next_checkpoint if self._checkpoints else self._actions.pop(0)

    def _store_next_checkpoint(self) -> None:
        line = self._checkpoints[0]
        self._store_checkpoint(line)
        shutil.rmtree(line.directory, ignore_errors=True)
        with self._changed:
            self._checkpoints.popleft()

    def _note_done(self) -> None:
        with self._changed:
            self._is_busy = False
            self._changed.notify_all()
