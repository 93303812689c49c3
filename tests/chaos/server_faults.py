"""What happens to the servers: restarts, lost hints, hints from nowhere, a store that misbehaves, a full disk."""

import errno
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import redis

from core.dispatch import TASK_NAME, make_celery
from core.storage_keys import job_prefix
from tests.chaos.history import DAMAGED_CHECKPOINTS, Injected
from tests.chaos.records import Records
from tests.chaos.s3_faults import Corrupt, Fault, Hang, LostAnswer, Reset, Slow, Truncate, Unavailable
from tests.chaos.stack import Stack
from tests.conditions import wait_until
from tests.end_to_end.faults import find_descendants, signal_all
from tests.small_disk import can_mount

HINTS = 100
FULL_SECONDS = 2.0
FIRST_HIT_SECONDS = 6.0
POLL_SECONDS = 0.1
BALLAST_BYTES = 1024**2
GARBAGE = (b"", b"{", b'{"body": 1}', b"\xff\xfe", b"[1, 2]", b'{"properties": {}, "headers": {}, "body": "e30="}')
STORE_FAULTS: dict[str, Fault] = {
    "store: 503": Unavailable(),
    "store: reset in the body": Reset(after_bytes=20_000),
    "store: truncated answers": Truncate(),
    "store: 100 KB/s": Slow(bytes_per_second=100_000),
    "store: answers get lost": LostAnswer(),
    "store: hangs": Hang(),
    DAMAGED_CHECKPOINTS: Corrupt(key_pattern=r"/checkpoints/.*safetensors$"),
}


class ServerFaults:
    def __init__(self, stack: Stack, records: Records) -> None:
        self._stack = stack
        self._records = records
        self._servers = stack.servers
        self.can_fill_disk = can_mount()

    def restart_postgres(self, _: random.Random) -> Injected:
        """`immediate`: as if it had crashed."""
        at, hit = time.time(), self._list_hit()
        pid = int((self._servers.postgres.data_dir / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not self._servers.postgres.process.is_alive(), seconds=20)
        self._servers.postgres.start()
        self._servers.postgres.wait()
        return Injected("PostgreSQL: immediate restart", at, time.time(), hit)

    def kill_broker(self, rng: random.Random) -> Injected:
        """It keeps nothing on disk."""
        at, hit = time.time(), self._list_hit()
        signal_all(find_descendants(self._servers.valkey.process.pid), signal.SIGKILL)
        wait_until(lambda: not self._servers.valkey.process.is_alive(), seconds=20)
        time.sleep(rng.uniform(0, 2))
        self._servers.valkey.start()
        self._servers.valkey.wait()
        return Injected("broker: kill -9 without persistence", at, time.time(), hit)

    def flush_broker(self, _: random.Random) -> Injected:
        at, hit = time.time(), self._list_hit()
        with redis.Redis.from_url(self._servers.valkey.url) as client:
            client.flushall()
        return Injected("broker: FLUSHALL", at, time.time(), hit)

    def send_hints(self, _: random.Random) -> Injected:
        """The same hundred times, for queues and of tasks that nobody knows, and things that are no messages."""
        at, hit = time.time(), self._list_hit()
        celery = make_celery(self._servers.valkey.url)
        for _number in range(HINTS):
            celery.send_task(TASK_NAME, args=["train"], queue="train")
        celery.send_task(TASK_NAME, args=["no-such-queue"], queue="train")
        celery.send_task(TASK_NAME, args=[{"no": "queue"}, 2], queue="train")
        celery.send_task("worker.no_such_task", queue="train")
        celery.close()
        with redis.Redis.from_url(self._servers.valkey.url) as client:
            for garbage in GARBAGE:
                client.lpush("bitune:train", garbage)
        return Injected("broker: hundredfold and foreign hints", at, time.time(), hit)

    def disturb_store(self, rng: random.Random) -> Injected | None:
        """From the first request that it hits on for some seconds more; None when there was none."""
        name, proxy = rng.choice(list(STORE_FAULTS)), self._stack.proxy
        at, deadline = time.time(), time.monotonic() + FIRST_HIT_SECONDS
        proxy.set_fault(STORE_FAULTS[name])
        while not proxy.hits and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)  # between two looks at the proxy
        time.sleep(rng.uniform(0.5, 3.0))  # the fault itself: to go on for a while
        proxy.set_fault(None)
        if not proxy.hits:
            return None
        hit = [job.run_id for job in self._records.list_accepted() if _concerns(job.job_id, proxy.hit_keys)]
        return Injected(name, at, time.time(), hit, f"{proxy.hits} requests")

    def fill_disk(self, _: random.Random) -> Injected | None:
        """Where trainers write, for a while; None where this user may not mount a small one."""
        if not self.can_fill_disk:
            return None
        at, hit = time.time(), self._list_hit()
        ballast = self._stack.settings.work_dir / "ballast"
        try:
            _fill(ballast)
            time.sleep(FULL_SECONDS)
        finally:
            ballast.unlink(missing_ok=True)
        return Injected("disk: full", at, time.time(), hit)

    def _list_hit(self) -> list[str]:
        return [job.run_id for job in self._records.list_running()]


def _fill(path: Path) -> None:
    """Until not a byte more goes in; a write into the last free page is cut short and no error."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(BALLAST_BYTES))
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
                return


def _concerns(job_id: str, keys: Sequence[str]) -> bool:
    return any(key.startswith(job_prefix(job_id)) for key in keys)
