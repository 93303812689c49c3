"""Bitune as its users meet it: API and workers as processes of their own, on a database of their own."""

from typing import Any

import httpx

from cli.commands import make_api_command, make_worker_command
from cli.environment import make_environment
from cli.home import Home
from cli.ports import LOOPBACK
from cli.process import GuardedProcess, stop_all
from core.settings import Settings
from tests.conditions import wait_until

LEASE_SECONDS = "4"
START_SECONDS = 60
JOB_SECONDS = 120

Json = dict[str, Any]  # answers of the API


class Service:
    """Short leases and frequent checkpoints, so that a test of a crash takes seconds."""

    def __init__(self, home: Home, settings: Settings, *, port: int) -> None:
        environment = make_environment(settings) | {
            "BITUNE_LEASE_SECONDS": LEASE_SECONDS,
            "BITUNE_HEARTBEAT_SECONDS": "0.5",
            "BITUNE_SWEEP_SECONDS": "1",
            "BITUNE_LOOK_SECONDS": "5",
            "BITUNE_SEGMENT_SECONDS": "1",
            "BITUNE_CHECKPOINT_INTERVAL_SECONDS": "0.5",
        }
        self.url = f"http://{LOOPBACK}:{port}"
        self.api = self._make(home, "api", make_api_command(host=LOOPBACK, port=port, log_level="info"), environment)
        self.worker = self._make_worker(home, "train", environment)
        self.importer = self._make_worker(home, "imports", environment)

    def start(self) -> None:
        for process in (self.api, self.worker, self.importer):
            process.start()
        self.api.wait_until(self._is_ready, seconds=START_SECONDS)

    def stop(self) -> None:
        stop_all([self.worker, self.importer, self.api])

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _make_worker(self, home: Home, queue: str, environment: dict[str, str]) -> GuardedProcess:
        command = make_worker_command(queue, log_level="info")
        return self._make(home, queue, command, environment | {"BITUNE_WORKER_QUEUE": queue})

    def _make(self, home: Home, name: str, command: list[str], environment: dict[str, str]) -> GuardedProcess:
        return GuardedProcess(
            name, command, home=home, log_name=f"test-{name}", environment=environment, grace_seconds=20
        )


class User:
    """Somebody with a key."""

    def __init__(self, url: str, secret: str) -> None:
        self.client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=30
        )

    def post_job(self, body: Json) -> str:
        answer = self.client.post("/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def get_job(self, job_id: str) -> Json:
        job: Json = self.client.get(f"/jobs/{job_id}").json()
        return job

    def wait_for_end(self, job_id: str) -> Json:
        wait_until(lambda: bool(self.get_job(job_id)["terminal"]), seconds=JOB_SECONDS)
        return self.get_job(job_id)

    def wait_for_step(self, job_id: str, step: int) -> None:
        def is_there() -> bool:
            job = self.get_job(job_id)
            assert not job["terminal"], job
            progress = job["progress"]
            return progress is not None and progress["stage"] == "training" and progress["step"] >= step

        wait_until(is_there, seconds=JOB_SECONDS)

    def wait_for_checkpoint(self, job_id: str) -> None:
        wait_until(lambda: bool(self.client.get(f"/jobs/{job_id}/checkpoints").json()["data"]), seconds=JOB_SECONDS)

    def wait_for_dataset(self, dataset_id: str) -> Json:
        wait_until(lambda: self.get_dataset(dataset_id)["status"] != "importing", seconds=JOB_SECONDS)
        return self.get_dataset(dataset_id)

    def get_dataset(self, dataset_id: str) -> Json:
        dataset: Json = self.client.get(f"/datasets/{dataset_id}").json()
        return dataset
