"""kill -9 of the API in the midst of a POST with a key: its retry, at another process, creates once."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, update

from cli.commands import make_api_command
from cli.environment import make_environment
from cli.ports import LOOPBACK, find_free_port
from core.db.session import SessionFactory
from core.db.tables import Dataset, IdempotencyKey
from core.settings import Settings
from tests.api.dying_app import MOMENT_FILE_VARIABLE
from tests.conditions import wait_until

APP = "api.main:create_app"
BODY = {"name": "cells", "url": "https://example.com/cells.zip"}
HEADERS = {"Idempotency-Key": "a"}
IN_FLIGHT, CREATED = "after-1", "after-2"  # what the key says when the process dies: see dying_app


@contextmanager
def serve_dying(settings: Settings, moment_file: Path) -> Iterator[str]:
    """Its URL; it is dead after the block."""
    port = find_free_port(set())
    command = make_api_command(host=LOOPBACK, port=port, log_level="warning")
    command[command.index(APP)] = "tests.api.dying_app:create_app"
    environment = os.environ | make_environment(settings) | {MOMENT_FILE_VARIABLE: str(moment_file)}
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until(lambda: is_alive(f"http://{LOOPBACK}:{port}"), seconds=60)
        yield f"http://{LOOPBACK}:{port}"
        assert process.wait(timeout=10) == -9
    finally:
        process.kill()
        process.wait()


def is_alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez", trust_env=False).is_success
    except httpx.ConnectError:
        return False


def expire_lease(sessions: SessionFactory) -> None:
    with sessions.begin() as session:
        session.execute(update(IdempotencyKey).values(locked_until=func.now() - timedelta(seconds=1)))


@pytest.mark.parametrize("moment", [IN_FLIGHT, CREATED])
def test_retry_after_a_kill_creates_once(
    moment: str, api_settings: Settings, client: httpx.Client, sessions: SessionFactory, secret: str, tmp_path: Path
) -> None:
    (tmp_path / "moment").write_text(moment)
    headers = HEADERS | {"Authorization": f"Bearer {secret}"}
    with serve_dying(api_settings, tmp_path / "moment") as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{url}/datasets", json=BODY, headers=headers, trust_env=False, timeout=30)

    answer = client.post("/datasets", json=BODY, headers=HEADERS)
    if moment == IN_FLIGHT:  # nothing was created: the lease of the key has to expire
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_flight")
        expire_lease(sessions)
        answer = client.post("/datasets", json=BODY, headers=HEADERS)

    assert answer.status_code == 202
    assert ("idempotent-replayed" in answer.headers) == (moment == CREATED)
    with sessions() as session:
        assert session.scalars(select(Dataset.id)).all() == [answer.json()["id"]]
