"""What a worker says of itself when it registers."""

import os
import socket
from importlib.metadata import version

from core.db.tables import Worker
from worker.context import WorkerContext


def describe_worker(context: WorkerContext) -> Worker:
    return Worker(
        id=context.worker_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        queue=context.settings.worker_queue,
        slots=context.num_slots,
        gpus=context.gpus.size,
        code_version=version("bitune"),
    )
