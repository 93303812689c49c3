"""A worker's context on the real servers, without the worker's threads."""

from pathlib import Path

from core.db.session import SessionFactory
from core.dispatch import Dispatcher
from core.settings import Settings
from core.storage import Storage
from worker.context import WorkerContext
from worker.gpus import GpuPool
from worker.spares import Spares
from worker.work_dirs import WorkDirs


def make_context(
    settings: Settings, sessions: SessionFactory, work_dir: Path, *, worker_id: str = "worker_a"
) -> WorkerContext:
    return WorkerContext(
        settings=settings,
        sessions=sessions,
        storage=Storage.from_settings(settings),
        dispatcher=Dispatcher(settings.broker_url.get_secret_value()),
        worker_id=worker_id,
        work_dirs=WorkDirs(work_dir, worker_id),
        gpus=GpuPool([]),
        spares=Spares(work_dir),
    )
