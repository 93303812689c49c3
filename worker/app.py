"""What `celery -A worker.app` names: makes the worker's parts and ties them to Celery's life."""

import structlog
from celery.signals import setup_logging, worker_init, worker_shutdown, worker_shutting_down

from core.dispatch import TASK_NAME, make_celery
from core.log import configure_logging
from core.settings import Settings
from worker.lifecycle import WorkerLifecycle

log = structlog.get_logger()
settings = Settings()
app = make_celery(settings.broker_url.get_secret_value())
lifecycle = WorkerLifecycle(settings)
configure_logging(settings.log_level, worker_id=lifecycle.worker_id)


@app.task(name=TASK_NAME)  # type: ignore[untyped-decorator]  # Celery has no types
def work(queue: str) -> None:
    """A hint that `queue` has work; returns at once, so that hints never wait behind runs."""
    if queue == settings.worker_queue:
        lifecycle.slots.wake()


@setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def keep_logging(**_: object) -> None:
    """It is set up: that somebody listens keeps Celery from doing it in its own way."""


# worker_init comes before the first connection: a dead broker must not keep the worker from looking by itself.
@worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def start(**_: object) -> None:
    """Celery would log an error and go on with half a worker."""
    try:
        lifecycle.start()
    except Exception as exc:  # whatever it is, this process must not live on
        log.exception("worker_not_started")
        raise SystemExit(1) from exc


@worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery has no types
def ask_to_stop(**_: object) -> None:
    lifecycle.ask_to_stop()


@worker_shutdown.connect  # type: ignore[untyped-decorator]  # Celery has no types
def close(**_: object) -> None:
    lifecycle.close()
