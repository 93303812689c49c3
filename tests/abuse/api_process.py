"""An API process of its own to be attacked, on servers that are at hand or started for it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.commands import make_api_command
from cli.environment import make_environment
from cli.home import Home
from cli.ports import LOOPBACK, find_free_port
from cli.servers import Servers
from core.db.migrate import upgrade
from core.db.session import make_engine, make_session_factory
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings
from core.storage import Storage
from tests.conditions import wait_until

START_SECONDS = 120.0
SMALL_LIMITS = {  # so that an attack reaches them
    "BITUNE_MAX_UPLOAD_BYTES": str(8 * 1024**2),
    "BITUNE_MAX_PREDICT_BYTES": str(8 * 1024**2),
    "BITUNE_QUOTA_UPLOADS_AT_ONCE": "none",  # it would send most of a slow crowd away
}


@dataclass(frozen=True)
class Api:
    port: int
    pid: int
    secret: str  # of a key that may do everything

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


@contextmanager
def start_servers() -> Iterator[Settings]:
    """A database, a broker and a store for nobody else."""
    with tempfile.TemporaryDirectory(prefix="bitune-abuse-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's user has to enter it
        home = Home(Path(folder))
        servers = Servers(home)
        try:
            servers.start()
            settings = servers.make_settings()
            upgrade(settings.database_url.get_secret_value())
            Storage.from_settings(settings).ensure_bucket()
            yield settings
        finally:
            servers.stop()
            home.close()


@contextmanager
def start_api(settings: Settings, limits: Mapping[str, str] = SMALL_LIMITS) -> Iterator[Api]:
    port = find_free_port(set())
    environment = make_environment(settings) | dict(limits)
    process = subprocess.Popen(
        make_api_command(host=LOOPBACK, port=port, log_level="warning"),
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _is_ready(port), seconds=START_SECONDS)
        yield Api(port, process.pid, make_key(settings))
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/readyz", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def make_key(settings: Settings) -> str:
    engine = make_engine(settings.database_url.get_secret_value())
    try:
        with make_session_factory(engine).begin() as session:
            key = create_key(session, project_id=ensure_project(session, "abuse"), name="abuse", scopes=ALL_SCOPES)
            return key.secret
    finally:
        engine.dispose()
