"""The real servers in a folder of their own, for as long as a benchmark runs."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from cli.commands import make_api_command, make_api_environment
from cli.environment import make_environment
from cli.home import Home
from cli.ports import LOOPBACK, find_free_port
from cli.servers import Servers
from core.db.migrate import upgrade
from core.settings import Settings

START_SECONDS = 180.0


@contextmanager
def run_servers() -> Iterator[Settings]:
    """Points at a migrated, empty database."""
    with _make_folder() as folder:
        home = Home(folder)
        servers = Servers(home)
        try:
            servers.start()
            settings = servers.make_settings()
            upgrade(settings.database_url.get_secret_value())
            yield settings
        finally:
            servers.stop()
            home.close()


@contextmanager
def _make_folder() -> Iterator[Path]:
    """PostgreSQL's user can enter it when the benchmark runs as root."""
    folder = Path(tempfile.mkdtemp(prefix="bitune-benchmark-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serve_api(
    settings: Settings, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The API in a process of its own, as `bitune serve` starts it, and its URL; `environment` overrides settings."""
    port = find_free_port(set())
    whole_environment = {
        **os.environ,
        **make_environment(settings),
        "BITUNE_MAX_UPLOAD_BYTES": str(settings.max_upload_bytes),
        "BITUNE_QUOTA_REQUESTS_PER_SECOND": str(settings.quota_requests_per_second),
        **(environment or {}),
    }
    process = subprocess.Popen(
        make_api_command(host=LOOPBACK, port=port, log_level="warning"),
        env=make_api_environment(whole_environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://{LOOPBACK}:{port}"
    try:
        _wait_for(process, f"{url}/livez")
        yield process, url
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
            return
        except httpx.ConnectError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)  # between two looks whether it listens
