"""The real servers in a folder of their own, for as long as a benchmark runs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.home import Home
from cli.servers import Servers
from core.db.migrate import upgrade
from core.settings import Settings


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
