"""`python -m cli.worker_health`: exits 0 when a worker of this host and BITUNE_WORKER_QUEUE was seen lately."""

import socket
import sys

from cli.database import transaction
from core.settings import Settings
from core.workers import list_online


def is_healthy(settings: Settings) -> bool:
    with transaction(settings) as session:
        online = list_online(session)
    return any(worker.hostname == socket.gethostname() and worker.queue == settings.worker_queue for worker in online)


if __name__ == "__main__":
    sys.exit(not is_healthy(Settings()))
