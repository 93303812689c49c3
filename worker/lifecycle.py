"""The life of one worker process: registers, looks for work by itself, sweeps, and leaves in order."""

import threading
from functools import partial

import structlog

from core.db.session import DATABASE_OUTAGES, make_engine, make_session_factory
from core.dispatch import Dispatcher
from core.ids import make_id
from core.settings import Settings
from core.storage import Storage
from core.workers import leave, register_worker
from worker.collector import Collector
from worker.context import WorkerContext
from worker.execution import drain
from worker.gpus import GpuPool, list_gpus
from worker.registration import describe_worker
from worker.slots import Slots
from worker.spares import Spares
from worker.sweeper import Sweeper
from worker.work_dirs import WorkDirs

log = structlog.get_logger()


class WorkerLifecycle:
    """`ask_to_stop` lets every trainer write a checkpoint and hands its run back; `close` waits for that."""

    def __init__(self, settings: Settings) -> None:
        self._engine = make_engine(settings.database_url.get_secret_value(), pool_size=settings.database_pool_size)
        worker_id = make_id("worker")
        work_dirs = WorkDirs(settings.work_dir, worker_id)
        self._context = WorkerContext(
            settings=settings,
            sessions=make_session_factory(self._engine),
            storage=Storage.from_settings(settings),
            dispatcher=Dispatcher(settings.broker_url.get_secret_value()),
            worker_id=worker_id,
            work_dirs=work_dirs,
            gpus=GpuPool(list_gpus() if settings.worker_queue == "train" else []),
            spares=Spares(work_dirs.own),
        )
        self.slots = Slots(count=self._context.num_slots, drain=partial(drain, self._context))
        self._sweeper = Sweeper(self._context)
        self._collector = Collector(self._context)
        self._looker = threading.Thread(target=self._look, name="looker")

    @property
    def worker_id(self) -> str:
        return self._context.worker_id

    def start(self) -> None:
        self._context.work_dirs.open()
        self._register()
        self._sweeper.start()
        self._collector.start()
        self._looker.start()
        self._start_spares()
        log.info("worker_started", queue=self._context.settings.worker_queue, slots=self._context.num_slots)

    def ask_to_stop(self) -> None:
        self._context.stopping.set()

    def close(self) -> None:
        self._context.stopping.set()
        self._looker.join()
        self.slots.close()
        self._context.spares.close()
        self._sweeper.close()
        self._collector.close()
        self._leave()
        self._context.work_dirs.close()
        self._context.dispatcher.close()
        self._engine.dispose()

    def _look(self) -> None:
        """Finds work without any hint: a broker that is down costs latency, not availability."""
        self.slots.wake()
        while not self._context.stopping.wait(self._context.settings.look_seconds):
            self.slots.wake()

    def _start_spares(self) -> None:
        settings = self._context.settings
        if settings.spare_trainers and settings.worker_queue == "train":
            self._context.spares.start(slots=self._context.num_slots, stopping=self._context.stopping)

    def _register(self) -> None:
        """While the database is away the worker starts all the same: the first sweep that reaches it registers."""
        try:
            with self._context.transaction() as session:
                register_worker(session, describe_worker(self._context))
        except DATABASE_OUTAGES as exc:
            log.warning("not_registered_yet", error=type(exc).__name__)

    def _leave(self) -> None:
        try:
            with self._context.transaction() as session:
                leave(session, self._context.worker_id)
        except DATABASE_OUTAGES as exc:
            log.warning("leave_not_written", error=type(exc).__name__)
