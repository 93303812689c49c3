"""Everything that a chaos run disturbs: the real servers, a fault proxy before the store, API, importer, workers."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from sqlalchemy import Engine

from cli.commands import make_api_command, make_worker_command
from cli.environment import make_environment
from cli.home import Home
from cli.ports import LOOPBACK, find_free_port
from cli.process import GuardedProcess, stop_all
from cli.registration_process import run_registration
from cli.servers import Servers
from core.db.migrate import upgrade
from core.db.session import make_engine, make_session_factory
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings
from core.storage import Storage
from tests.chaos.audit import install_audit
from tests.chaos.kill_points import DIRECTORY_VARIABLE
from tests.chaos.s3_proxy import S3Proxy
from tests.chaos.sabotage import CONTROL_VARIABLE, Control
from tests.small_disk import can_mount, small_disk

WORKERS = 2
SLOTS = 1
LEASE_SECONDS = 3.0
STALL_SECONDS = 40.0  # more than a trainer takes to start on a machine with several times too much to do
WORK_DIR_MEBIBYTES = 192
BACKBONE = "test_efficientnet"
HURRIED = {
    "BITUNE_LEASE_SECONDS": str(LEASE_SECONDS),
    "BITUNE_HEARTBEAT_SECONDS": "0.4",
    "BITUNE_SWEEP_SECONDS": "0.5",
    "BITUNE_LOOK_SECONDS": "3",
    "BITUNE_CHECKPOINT_INTERVAL_SECONDS": "0.5",
    "BITUNE_SEGMENT_SECONDS": "1",
    "BITUNE_STOP_GRACE_SECONDS": "1",
    "BITUNE_PAUSE_GRACE_SECONDS": "3",
    "BITUNE_HANDBACK_GRACE_SECONDS": "8",
    "BITUNE_STALL_SECONDS": str(STALL_SECONDS),
    "BITUNE_WORKER_SLOTS": str(SLOTS),
    "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",  # our own SHA-256 alone has to notice damage
    "OMP_NUM_THREADS": "1",  # two trainers side by side on two cores, and the same sums for all
}


class Stack:
    def __init__(self, home: Home, control: Control | None) -> None:
        self.home = home
        self.servers = Servers(home)
        self.proxy = S3Proxy(self.servers.seaweed.url)
        self.points_dir = home.path / "points"
        self.points_dir.mkdir()
        self.settings = self._make_settings()
        self.url = f"http://{LOOPBACK}:{find_free_port(set(home.ports.values()))}"
        environment = make_environment(self.settings) | HURRIED | {DIRECTORY_VARIABLE: str(self.points_dir)}
        environment |= {} if control is None else {CONTROL_VARIABLE: control}
        api = make_api_command(host=LOOPBACK, port=int(self.url.rsplit(":", 1)[1]), log_level="warning")
        self.api = self._make_process("api", api, environment)
        no_points = {DIRECTORY_VARIABLE: str(home.path / "no-points")}
        self.importer = self._make_worker("importer", "imports", environment | no_points)
        self.workers = [self._make_worker(f"worker-{number}", "train", environment) for number in range(WORKERS)]
        self.key = ""

    @property
    def processes(self) -> list[GuardedProcess]:
        return [self.api, self.importer, *self.workers]

    def start(self) -> None:
        self.servers.start()
        self.proxy.start()
        upgrade(self.settings.database_url.get_secret_value())
        Storage.from_settings(self.settings).ensure_bucket()
        self._prepare_rows()
        for process in self.processes:
            process.start()

    def stop(self) -> None:
        stop_all(self.processes)
        self.proxy.close()
        self.servers.stop()

    def make_engine(self) -> Engine:
        return make_engine(self.settings.database_url.get_secret_value())

    def make_direct_storage(self) -> Storage:
        """Past the proxy."""
        return Storage.from_settings(self.settings.model_copy(update={"s3_endpoint_url": self.servers.seaweed.url}))

    def _make_settings(self) -> Settings:
        work_dir = self.home.path / "worker-home"
        work_dir.mkdir()
        return self.servers.make_settings().model_copy(
            update={"s3_endpoint_url": self.proxy.url, "home": work_dir, "url_allowed_hosts": (LOOPBACK,)}
        )

    def _prepare_rows(self) -> None:
        engine = self.make_engine()
        with engine.begin() as connection:
            install_audit(connection)
        with make_session_factory(engine).begin() as session:
            self.key = create_key(session, project_id=ensure_project(session), name="chaos", scopes=ALL_SCOPES).secret
        engine.dispose()
        weights = self.home.path / "backbone.safetensors"
        torch.manual_seed(0)
        save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), weights)
        run_registration(BACKBONE, weights, make_environment(self.settings))

    def _make_worker(self, name: str, queue: str, environment: dict[str, str]) -> GuardedProcess:
        command = make_worker_command(queue, log_level="warning")
        command[command.index("worker.app:app")] = "tests.chaos.worker_app:app"
        return self._make_process(name, command, environment | {"BITUNE_WORKER_QUEUE": queue})

    def _make_process(self, name: str, command: list[str], environment: dict[str, str]) -> GuardedProcess:
        return GuardedProcess(name, command, home=self.home, log_name=name, environment=environment, grace_seconds=15)


@contextmanager
def run_stack(control: Control | None) -> Iterator[Stack]:
    """In a folder of its own that is gone at the end."""
    path = Path(tempfile.mkdtemp(prefix="bitune-chaos-"))
    path.chmod(0o711)  # where PostgreSQL's user can go, also when this runs as root
    home = Home(path)
    stack = Stack(home, control)
    try:
        with _small_work_dir(stack.settings.work_dir):
            stack.start()
            try:
                yield stack
            finally:
                stack.stop()
    finally:
        home.close()
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _small_work_dir(path: Path) -> Iterator[None]:
    """Where this user may mount one."""
    path.mkdir(parents=True)
    with small_disk(path, mebibytes=WORK_DIR_MEBIBYTES) if can_mount() else nullcontext():
        yield
