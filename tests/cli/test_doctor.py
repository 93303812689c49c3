import io
import time

import pytest
from pydantic import SecretStr
from rich.console import Console

from cli.doctor import diagnose
from core.settings import Settings
from tests.tarpit import open_tarpit

SERVERS = ("database", "broker", "storage")


def make_settings(settings: Settings, port: int) -> Settings:
    """Every server hangs."""
    return settings.model_copy(
        update={
            "database_url": SecretStr(f"postgresql+psycopg://user:password@127.0.0.1:{port}/name"),
            "broker_url": SecretStr(f"redis://:password@127.0.0.1:{port}/0"),
            "s3_endpoint_url": f"http://127.0.0.1:{port}",
        }
    )


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, record=True)


def find_lines(console: Console, word: str) -> str:
    return "\n".join(line for line in console.export_text().splitlines() if line.startswith(word))


def test_doctor_does_not_hang_with_the_servers(settings: Settings, console: Console) -> None:
    with open_tarpit() as port:
        started = time.monotonic()
        well = diagnose(make_settings(settings, port), console)

        assert time.monotonic() - started < 5

    failed = find_lines(console, "failed")
    assert not well
    assert all(f"{server}: " in failed for server in SERVERS)


def test_doctor_finds_running_servers(settings: Settings, console: Console) -> None:
    diagnose(settings, console)

    found = find_lines(console, "ok")
    assert all(server in found for server in SERVERS)
