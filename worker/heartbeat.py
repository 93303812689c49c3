"""Renews a claim's lease from a thread that nothing else can block, and brings back what was asked of the run."""

import threading
from types import TracebackType

import structlog
from pydantic import BaseModel

from core.db.session import DATABASE_OUTAGES
from core.log import keep_ids
from core.runs import claims
from core.runs.types import Claim, LostClaimError, Signal
from worker.context import WorkerContext
from worker.timed_event import TimedEvent

log = structlog.get_logger()


class Heartbeat:
    """Beats while its block runs. `stop` is set once the run has to end; `why` and `lost` say for what."""

    def __init__(self, context: WorkerContext, held: Claim) -> None:
        self._context = context
        self.held = held
        self._ended = threading.Event()
        self._thread = threading.Thread(target=keep_ids(self._run), name="heartbeat", daemon=True)
        self._progress: BaseModel | None = None
        self.stop = TimedEvent()
        self.why = Signal.GO_ON
        self.lost = False

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def report(self, progress: BaseModel) -> None:
        """Goes out with the next beat."""
        self._progress = progress

    def _run(self) -> None:
        while not self.lost and not self._ended.wait(self._context.settings.heartbeat_seconds):
            try:
                self._beat()
            except LostClaimError:
                log.warning("claim_lost")
                self.lost = True
                self.stop.set()
            except DATABASE_OUTAGES as exc:
                # The work goes on: nothing is requeued before the database has been back for a whole lease.
                log.warning("beat_failed", error=type(exc).__name__)
            except Exception:  # a bug of ours must not cost a healthy run its lease
                log.exception("beat_crashed")

    def _beat(self) -> None:
        with self._context.transaction() as session:
            signal = claims.beat(
                session, self.held, lease_seconds=self._context.settings.lease_seconds, progress=self._progress
            )
        if signal is not Signal.GO_ON:
            self.why = signal
            self.stop.set()
