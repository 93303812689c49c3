import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions import wait_until
from tests.end_to_end.faults import find_descendants, signal_all
from tests.end_to_end.service import Json, User
from tests.end_to_end.test_crashes import LONG
from tests.trainers import find_pids

FAST = {
    "BITUNE_LEASE_SECONDS": "4",
    "BITUNE_HEARTBEAT_SECONDS": "0.5",
    "BITUNE_SWEEP_SECONDS": "1",
    "BITUNE_CHECKPOINT_INTERVAL_SECONDS": "0.5",
}


class Up:
    """`bitune up` in a process of its own."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._log = home / "up.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> User:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up", "--home", str(self._home), "--port", "0"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **FAST},
            )
        wait_until(self._is_ready, seconds=90)
        url = re.search(r"http://127\.0\.0\.1:\d+", self._log.read_text())
        assert url is not None
        return User(url.group(), (self._home / "key").read_text().strip())

    def kill_everything(self) -> None:
        """Itself, guards, servers, workers, trainers, at once."""
        assert self._process is not None
        signal_all([self._process.pid, *find_descendants(self._process.pid)], signal.SIGKILL)
        self._process.wait()

    def interrupt(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(60)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        return "Ready after" in self._log.read_text()


@pytest.fixture
def home() -> Iterator[Path]:
    """Where PostgreSQL's user can go, also when the tests run as root."""
    with tempfile.TemporaryDirectory(prefix="bitune-up-", ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell makes what it starts in the background ignore SIGINT, and children inherit that; not what is handled."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def kill_postgres(home: Path) -> None:
    pid_file = home / "postgres" / "data" / "postmaster.pid"
    os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)


def find_weights_sha256(user: User, job: Json) -> str:
    parts = user.client.get(f"/models/{job['model_id']}/download").json()["parts"]
    return str(next(part["sha256"] for part in parts if part["name"] == "weights.safetensors"))


@pytest.mark.timeout(600)  # two trainings and two starts: minutes on a slow machine
@pytest.mark.usefixtures("interruptible")
def test_job_of_a_killed_stack_ends_as_if_nothing_had_happened(home: Path, archive: Path) -> None:
    up = Up(home)
    user = up.start()
    answer = user.client.post("/datasets", files={"file": ("c.zip", archive.read_bytes())}, data={"name": "cells"})
    job_id = user.post_job(LONG | {"dataset_id": user.wait_for_dataset(answer.json()["id"])["id"]})
    user.wait_for_checkpoint(job_id)

    up.kill_everything()
    user.client.close()
    wait_until(lambda: find_pids(str(home)) == [], seconds=30)
    user = up.start()
    job = user.wait_for_end(job_id)

    assert job["status"] == "succeeded", job["status_reason"]
    assert len(job["attempts"]) >= 2
    assert job["attempts"][-1]["resumed_from_step"] > 0
    assert len(user.client.get("/models").json()["data"]) == 1
    undisturbed = user.wait_for_end(user.post_job(job["resolved_spec"]))
    assert find_weights_sha256(user, job) == find_weights_sha256(user, undisturbed)

    kill_postgres(home)
    wait_until(lambda: user.client.get("/jobs").status_code == 503, seconds=10)
    wait_until(lambda: user.client.get("/jobs").status_code == 200, seconds=30)
    user.client.close()
    assert up.interrupt() == 0
    assert find_pids(str(home)) == []
