"""Real servers, started once for all tests of a process."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.home import Home
from cli.servers import Servers
from core.db.migrate import upgrade
from core.settings import Settings
from core.storage import Storage

pytest_plugins = ["tests.database"]


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """Not pytest's own folder: PostgreSQL's user could not enter it when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="bitune-tests-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def server_lock(server_home: Path) -> Iterator[Home]:
    home = Home(server_home)
    yield home
    home.close()


@pytest.fixture(scope="session")
def servers(server_lock: Home) -> Iterator[Servers]:
    servers = Servers(server_lock)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture(scope="session")
def settings(servers: Servers) -> Settings:
    """Points at a migrated database and a bucket."""
    settings = servers.make_settings()
    upgrade(settings.database_url.get_secret_value())
    Storage.from_settings(settings).ensure_bucket()
    return settings
