"""What an API and a worker process log, line by line."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from cli.commands import make_worker_command
from cli.environment import make_environment
from core.db.session import SessionFactory
from core.db.tables import Job, Run
from core.settings import Settings
from core.states import RunStatus
from tests.conditions import wait_until
from tests.end_to_end.service import Service, User
from tests.factories import make_dataset, make_job, make_project

Line = dict[str, Any]


@contextmanager
def running(command: list[str], settings: Settings, log_path: Path) -> Iterator[None]:
    """What the process logs is in the file; it is told to stop at the end."""
    environment = os.environ | make_environment(settings)
    with log_path.open("wb") as log_file:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=log_file)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def read_lines(log_path: Path, settings: Settings) -> list[Line]:
    text = log_path.read_text()
    for secret in list_secrets(settings):
        assert secret not in text
    return [json.loads(line) for line in text.splitlines()]


def list_secrets(settings: Settings) -> list[str]:
    urls = (settings.database_url.get_secret_value(), settings.broker_url.get_secret_value())
    passwords = [make_url(url).password for url in urls]
    return [*(password for password in passwords if password), settings.s3_secret_access_key.get_secret_value()]


@pytest.fixture
def job(sessions: SessionFactory) -> Job:
    """It fails at once: its dataset has no files."""
    with sessions.begin() as session:
        dataset = make_dataset(session, project_id=make_project(session))
        return make_job(session, project_id=dataset.project_id, dataset=dataset)


def test_worker_logs_objects_that_name_worker_run_attempt_and_job(
    job: Job, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    def has_been_tried() -> bool:
        with sessions() as session:
            run = session.get_one(Run, job.run_id)
            return run.attempt > 0 and run.status != RunStatus.RUNNING

    log_path = tmp_path / "log"
    home = settings.model_copy(update={"home": tmp_path})
    with running(make_worker_command("train", log_level="info"), home, log_path):
        wait_until(has_been_tried, seconds=60)

    lines = read_lines(log_path, settings)
    started = next(line for line in lines if line["event"] == "run_started")
    assert started["worker_id"].startswith("worker_")
    assert (started["run_id"], started["attempt"], started["job_id"]) == (job.run_id, 1, job.id)
    assert any(line["logger"].startswith("celery") for line in lines)
    assert {line["worker_id"] for line in lines} == {started["worker_id"]}


def test_api_logs_an_object_for_every_request(service: Service, service_settings: Settings, user: User) -> None:
    request_id = user.client.get("/jobs/job_x").headers["x-request-id"]
    wait_until(lambda: request_id in service.api.log_path.read_text(), seconds=10)

    lines = read_lines(service.api.log_path, service_settings)
    [request] = [line for line in lines if line.get("request_id") == request_id]
    said = (request["event"], request["method"], request["path"], request["status"])
    assert said == ("request", "GET", "/jobs/job_x", 404)
    assert any(line["logger"].startswith("uvicorn") for line in lines)
