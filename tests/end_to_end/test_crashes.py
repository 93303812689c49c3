import os
import signal
from pathlib import Path

import pytest

from core.settings import Settings
from tests.conditions import wait_until
from tests.end_to_end.faults import find_descendants
from tests.end_to_end.service import Json, Service, User
from tests.trainers import find_trainer_pids

LONG = {"training": {"epochs": 6, "image_size": 64, "batch_size": 16}}


@pytest.fixture
def running_job(user: User, dataset_id: str) -> str:
    """A job in the middle of its training, with a checkpoint in the store."""
    job_id = user.post_job(LONG | {"dataset_id": dataset_id})
    user.wait_for_checkpoint(job_id)
    return job_id


def assert_resumed_once(user: User, job: Json) -> None:
    assert job["status"] == "succeeded", job["status_reason"]
    assert len(job["attempts"]) == 2
    assert job["attempts"][1]["resumed_from_step"] > 0
    models = user.client.get("/models", params={"limit": 100}).json()["data"]
    assert [model["id"] for model in models if model["job_id"] == job["id"]] == [job["model_id"]]


def test_killed_trainer_is_resumed(user: User, running_job: str, service_settings: Settings) -> None:
    for pid in find_trainer_pids(service_settings.work_dir):
        os.kill(pid, signal.SIGKILL)

    job = user.wait_for_end(running_job)

    assert_resumed_once(user, job)
    assert job["attempts"][0]["outcome"] == "failed"


def test_killed_worker_loses_its_job_to_the_next(
    user: User, running_job: str, service: Service, service_settings: Settings
) -> None:
    worker_pid = find_descendants(service.worker.pid)[0]  # below the guard; other services may run on this host
    os.kill(worker_pid, signal.SIGKILL)
    wait_until(lambda: find_trainer_pids(service_settings.work_dir) == [], seconds=10)
    wait_until(lambda: not service.worker.is_alive(), seconds=10)
    service.worker.start()

    job = user.wait_for_end(running_job)

    assert_resumed_once(user, job)
    assert job["attempts"][0]["outcome"] == "lost"


def test_stopped_worker_hands_its_job_back_for_free(user: User, running_job: str, service: Service) -> None:
    service.worker.ask_to_stop()
    service.worker.wait_for_end()
    service.worker.start()

    job = user.wait_for_end(running_job)

    assert_resumed_once(user, job)
    assert job["attempts"][0]["outcome"] == "requeued"


def test_paused_job_leaves_its_slot_and_is_resumed_for_free(
    user: User, running_job: str, service_settings: Settings
) -> None:
    assert user.client.post(f"/jobs/{running_job}/pause").json()["status"] == "pausing"
    wait_until(lambda: find_trainer_pids(service_settings.work_dir) == [], seconds=10)
    wait_until(lambda: user.get_job(running_job)["status"] == "paused", seconds=10)

    assert user.client.post(f"/jobs/{running_job}/resume").json()["status"] == "queued"
    job = user.wait_for_end(running_job)

    assert_resumed_once(user, job)
    assert job["attempts"][0]["outcome"] == "paused"


def test_hanging_trainer_is_paused_within_ten_seconds(user: User, running_job: str, service_settings: Settings) -> None:
    for pid in find_trainer_pids(service_settings.work_dir):
        os.kill(pid, signal.SIGSTOP)  # it cannot obey

    user.client.post(f"/jobs/{running_job}/pause")

    wait_until(lambda: find_trainer_pids(service_settings.work_dir) == [], seconds=10)
    wait_until(lambda: user.get_job(running_job)["status"] == "paused", seconds=5)
    user.client.post(f"/jobs/{running_job}/cancel")


def test_cancelled_trainer_is_gone_within_ten_seconds(user: User, running_job: str, service_settings: Settings) -> None:
    assert find_trainer_pids(service_settings.work_dir) != []

    assert user.client.post(f"/jobs/{running_job}/cancel").json()["status"] == "cancelling"

    wait_until(lambda: find_trainer_pids(service_settings.work_dir) == [], seconds=10)
    assert user.wait_for_end(running_job)["status"] == "cancelled"
    wait_until(lambda: list_attempt_dirs(service_settings.work_dir) == [], seconds=5)


def list_attempt_dirs(path: Path) -> list[Path]:
    """Those of killed workers too: the next worker removes them."""
    return list(path.glob("*/run_*"))
