"""A worker whose database or disk is not there when it starts."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, make_url, text

from cli.commands import make_worker_command
from cli.environment import make_environment
from core.db.session import SessionFactory
from core.settings import Settings
from core.workers import list_online
from tests.conditions import wait_until
from worker.lifecycle import WorkerLifecycle


@pytest.fixture
def role(engine: Engine) -> Iterator[str]:
    """May do all that the service may, but is not let in yet."""
    name = f"late_{uuid.uuid4().hex[:8]}"
    with engine.begin() as connection:
        connection.execute(text(f"create role {name} superuser nologin password 'late'"))
    yield name
    with engine.begin() as connection:
        connection.execute(text(f"drop role {name}"))


def test_worker_that_starts_without_a_database_registers_once_it_is_back(
    role: str, engine: Engine, settings: Settings, sessions: SessionFactory, tmp_path: Path
) -> None:
    url = make_url(settings.database_url.get_secret_value()).set(username=role, password="late")
    changes = {
        "database_url": SecretStr(url.render_as_string(hide_password=False)),
        "home": tmp_path,
        "sweep_seconds": 0.2,
        "orphan_interval_hours": 0,
    }
    lifecycle = WorkerLifecycle(settings.model_copy(update=changes))

    def is_online() -> bool:
        with sessions() as session:
            return [worker.id for worker in list_online(session)] == [lifecycle.worker_id]

    lifecycle.start()
    try:
        assert not is_online()
        with engine.begin() as connection:
            connection.execute(text(f"alter role {role} login"))
        wait_until(is_online, seconds=10)
    finally:
        lifecycle.close()
    assert not is_online()  # it left in order


def test_worker_that_cannot_start_ends(settings: Settings, tmp_path: Path) -> None:
    """Whoever supervises it starts it again; half a worker would run on for ever."""
    home = tmp_path / "home"
    home.write_text("no folder")
    environment = {**os.environ, **make_environment(settings), "BITUNE_HOME": str(home)}

    ended = subprocess.run(
        make_worker_command("train", log_level="info"), env=environment, capture_output=True, timeout=60, check=False
    )

    assert ended.returncode == 1
    assert b"worker_not_started" in ended.stdout + ended.stderr
