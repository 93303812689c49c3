"""Hints that a queue has work. A hint is never the work: it may come twice, late or never (design, sentence 1)."""

import time

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy.orm import Session

log = structlog.get_logger()

TASK_NAME = "worker.work"
SILENCE_SECONDS = 30.0  # after a failed hint none is tried for so long
_PENDING = "pending_hints"
_IMPATIENT = {
    "socket_connect_timeout": 1,
    "socket_timeout": 1,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
}


def make_celery(broker_url: str) -> Celery:
    """The Celery app of both sides; docs/adr/0001-a-row-is-the-work.md says why a hint is acknowledged early."""
    celery = Celery("bitune", broker=broker_url)
    celery.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue="train",
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 15,
            "global_keyprefix": "bitune:",
        },
    )
    return celery


def hint_after_commit(session: Session, queue: str) -> None:
    """Remembers to hint; whoever commits the session hands it to `Dispatcher.send_pending`."""
    session.info.setdefault(_PENDING, set()).add(queue)


def take_pending(session: Session) -> set[str]:
    """The queues to hint for, which are then forgotten."""
    pending: set[str] = session.info.pop(_PENDING, set())
    return pending


class Dispatcher:
    """Sends hints. A broker that is down costs one connect time-out each 30 s and never an error."""

    def __init__(self, broker_url: str) -> None:
        self._celery = make_celery(broker_url)
        self._celery.conf.broker_transport_options |= _IMPATIENT
        self._silent_until = 0.0

    def send_pending(self, session: Session) -> None:
        for queue in sorted(take_pending(session)):
            self._send(queue)

    def check(self) -> None:
        """Raises when the broker does not answer."""
        with self._celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=1)

    def close(self) -> None:
        self._celery.close()

    def _send(self, queue: str) -> None:
        if time.monotonic() < self._silent_until:
            return
        if self._silent_until:
            self._begin_silence()  # the broker was away: one tries for all
        try:
            self._celery.send_task(TASK_NAME, args=[queue], queue=queue, retry=False, expires=60)
        except (OperationalError, OSError) as exc:
            self._begin_silence()
            log.warning("hint_failed", queue=queue, error=type(exc).__name__)
        else:
            self._silent_until = 0.0

    def _begin_silence(self) -> None:
        self._silent_until = time.monotonic() + SILENCE_SECONDS
