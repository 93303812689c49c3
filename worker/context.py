"""What every part of one worker process shares, made once in `worker/app.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.dispatch import Dispatcher
from core.settings import Settings
from core.storage import Storage
from worker.gpus import GpuPool
from worker.spares import Spares
from worker.timed_event import TimedEvent
from worker.work_dirs import WorkDirs


@dataclass(frozen=True)
class WorkerContext:
    settings: Settings
    sessions: SessionFactory
    storage: Storage
    dispatcher: Dispatcher
    worker_id: str
    work_dirs: WorkDirs
    gpus: GpuPool
    spares: Spares
    stopping: TimedEvent = field(default_factory=TimedEvent)

    @property
    def num_slots(self) -> int:
        return self.settings.worker_slots or max(1, self.gpus.size)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commits at the end, then sends the hints. Nothing slow happens inside."""
        with self.sessions() as session:
            with session.begin():
                yield session
            self.dispatcher.send_pending(session)
