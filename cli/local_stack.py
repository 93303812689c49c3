"""Everything of Bitune on one machine: three servers, the API, a train worker, an importer."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
from rich.console import Console

from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from cli.commands import make_api_command, make_api_environment, make_worker_command
from cli.database import transaction
from cli.environment import make_environment, write_environment
from cli.errors import LocalStackError
from cli.home import Home
from cli.local_key import ensure_local_key
from cli.ports import LOOPBACK, find_free_port, is_free
from cli.process import GuardedProcess, stop_all
from cli.registration_process import run_registration
from cli.servers import Servers
from cli.supervision import Revival, supervise
from core.backbones import list_backbones
from core.db.migrate import upgrade
from core.storage import Storage
from core.workers import list_online

START_SECONDS = 90.0
WORKER_GRACE_SECONDS = 10.0
HANDBACK_GRACE_SECONDS = 7.0  # less than the worker's own, so that each run is handed back before it is killed
QUEUES = {"train", "imports"}


@contextmanager
def run_local_stack(
    path: Path, *, port: int, allowed_hosts: tuple[str, ...], console: Console
) -> Iterator["LocalStack"]:
    """Ready when entered; all of it is stopped at the end, whatever ended it. SIGTERM counts as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup bitune up &` outlives its terminal
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    home = Home(path)
    try:
        stack = LocalStack(home, port=port, allowed_hosts=allowed_hosts, console=console)
        try:
            stack.start()
            yield stack
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            stack.stop()
    finally:
        home.close()


class LocalStack:
    def __init__(self, home: Home, *, port: int, allowed_hosts: tuple[str, ...], console: Console) -> None:
        self.home = home
        self.port = _choose_port(home, port)
        self.key = ""  # known once started
        self._console = console
        self._servers = Servers(home)
        settings = self._servers.make_settings()
        hosts = (*settings.url_allowed_hosts, *allowed_hosts)
        self._settings = settings.model_copy(update={"url_allowed_hosts": tuple(dict.fromkeys(hosts))})
        self._environment = make_environment(self._settings)
        log_level = settings.log_level
        self.api = GuardedProcess(
            "API",
            make_api_command(host=LOOPBACK, port=self.port, log_level=log_level),
            home=home,
            log_name="api",
            environment=make_api_environment(self._environment),
            grace_seconds=7.0,
        )
        self.workers = [
            GuardedProcess(
                name,
                make_worker_command(queue, log_level=log_level),
                home=home,
                log_name=log_name,
                environment=make_worker_environment(self._environment, queue),
                grace_seconds=WORKER_GRACE_SECONDS,
            )
            for name, queue, log_name in (("train worker", "train", "worker"), ("importer", "imports", "importer"))
        ]

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def servers(self) -> list[GuardedProcess]:
        return self._servers.processes

    def start(self) -> None:
        """Side by side where nothing depends on another: the slow parts are SeaweedFS and the API's imports."""
        started_at = datetime.now(UTC)
        write_environment(self.home, self._environment)
        self._servers.launch()
        self.api.start()
        self._servers.postgres.wait()
        self.key = self._prepare_database()
        for worker in self.workers:
            worker.start()
        self._servers.wait()
        Storage.from_settings(self._settings).ensure_bucket()
        self._ensure_backbone()
        self.api.wait_until(self._is_ready, seconds=START_SECONDS)
        for worker in self.workers:
            worker.wait_until(partial(self._workers_are_online, started_at), seconds=START_SECONDS)

    def supervise(self) -> None:
        """Whatever dies is started again; meanwhile the rest waits for it."""
        revivals = [Revival(server.process, self._console, start=server.start) for server in self._servers.all]
        revivals += [Revival(process, self._console, start=process.start) for process in (self.api, *self.workers)]
        supervise(revivals)

    def stop(self) -> None:
        """Workers first, so that they hand their runs back to a database that still answers."""
        stop_all([*self.workers, self.api])
        self._servers.stop()

    def _prepare_database(self) -> str:
        upgrade(self._settings.database_url.get_secret_value())
        with transaction(self._settings) as session:
            return ensure_local_key(session, self.home)

    def _ensure_backbone(self) -> None:
        with transaction(self._settings) as session:
            known = {backbone.name for backbone in list_backbones(session)}
        if BUNDLED_NAME not in known:
            self._console.print(f"Registering the pre-trained backbone {BUNDLED_NAME} …")
            run_registration(BUNDLED_NAME, find_bundled_weights(), self._environment)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def _workers_are_online(self, since: datetime) -> bool:
        with transaction(self._settings) as session:
            online = list_online(session)
        return {worker.queue for worker in online if worker.started_at >= since} >= QUEUES


def make_worker_environment(environment: Mapping[str, str], queue: str) -> dict[str, str]:
    grace = str(HANDBACK_GRACE_SECONDS)
    return {**environment, "BITUNE_WORKER_QUEUE": queue, "BITUNE_HANDBACK_GRACE_SECONDS": grace}


def _choose_port(home: Home, port: int) -> int:
    if port == 0:
        return find_free_port(set(home.ports.values()))
    if not is_free(port):
        raise LocalStackError(f"port {port} is in use; choose another with --port, or any free one with --port 0")
    return port
