"""When an attempt has to end, and for how long it may still wait for servers then."""

from collections.abc import Callable
from typing import TypeVar

from core.runs.types import Signal
from worker.context import WorkerContext
from worker.heartbeat import Heartbeat
from worker.outcomes import StopReason
from worker.patience import GivenUpError, outwait, run_beside

Result = TypeVar("Result")


class Ending:
    """One grace is for all that is still to be stored, the trainer's own included, from when the end was asked for."""

    def __init__(self, context: WorkerContext, beat: Heartbeat) -> None:
        self._settings = context.settings
        self._stopping = context.stopping
        self._beat = beat

    @property
    def reason(self) -> StopReason:
        return StopReason(self._beat.why)

    def is_asked(self) -> bool:
        """Somebody wants the run to end, or this worker shuts down."""
        return self._beat.stop.is_set() or self._stopping.is_set()

    def is_unwanted(self) -> bool:
        """Nothing of what the attempt would store is of use to anybody."""
        return self._beat.lost or self._beat.why is Signal.CANCEL

    def is_overdue(self) -> bool:
        asked_seconds = max(self._beat.stop.seconds, self._stopping.seconds)
        return self.is_unwanted() or asked_seconds > self._settings.handback_grace_seconds

    def must_leave(self) -> bool:
        """The claim is lost, or the grace of this worker is over."""
        return self._beat.lost or self._stopping.seconds > self._settings.handback_grace_seconds

    def outwait(self, action: Callable[[], Result]) -> Result:
        """Tries again while a server is away, until it has been for too long or the attempt is overdue."""
        return outwait(action, seconds=self._settings.outage_seconds, give_up=self.is_overdue)

    def prepare(self, action: Callable[[], Result]) -> Result:
        """For what nobody needs any more once the end is asked for; raises StopReason then."""
        return self._run_beside(action, self.is_asked)

    def finish(self, action: Callable[[], Result]) -> Result:
        """For what is still worth its grace; raises StopReason after it."""
        return self._run_beside(action, self.is_overdue)

    def _run_beside(self, action: Callable[[], Result], give_up: Callable[[], bool]) -> Result:
        try:
            return run_beside(lambda: self.outwait(action), give_up=give_up)
        except GivenUpError as exc:
            raise self.reason from exc
