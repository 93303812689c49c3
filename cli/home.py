"""`BITUNE_HOME`: one local stack's folder, its lock, its secrets, its ports."""

import fcntl
import json
import os
import secrets
import time
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict

from cli.errors import LocalStackError
from cli.ports import find_free_port, is_free

LEFTOVER_SECONDS = 25.0  # how long the processes of a killed stack may take to end
POLL_SECONDS = 0.1
PORT_NAMES = (
    "postgres",
    "valkey",
    "s3",
    "s3_grpc",
    "master",
    "master_grpc",
    "volume",
    "volume_grpc",
    "filer",
    "filer_grpc",
)


class Secrets(BaseModel):
    """Made once for a home; the files that hold them are readable by their owner alone."""

    model_config = ConfigDict(frozen=True)

    postgres_password: str
    valkey_password: str
    s3_access_key_id: str
    s3_secret_access_key: str


class Home:
    """Holds the lock of the folder, so that one stack at a time uses it; every guard of the stack holds it too."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / "lock").open("a+")
        except OSError as exc:
            raise LocalStackError(
                f"{self.path} cannot be written to ({exc.strerror}); choose another with --home"
            ) from exc
        self._take_lock()
        self.secrets = self._read_secrets()
        self.ports = self._choose_ports()

    def close(self) -> None:
        self._lock.close()

    @property
    def lock_handle(self) -> int:
        return self._lock.fileno()

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def write_secret(self, name: str, content: str) -> None:
        path = self.path / name
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(content)

    def _take_lock(self) -> None:
        """Refuses at once when the owner lives; what a killed owner left behind ends by itself."""
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while not _try_lock(self._lock):
            if _owner_lives(self._lock) or time.monotonic() > deadline:
                self._lock.close()
                raise LocalStackError(f"{self.path} is in use by another bitune; stop it or choose another --home")
            time.sleep(POLL_SECONDS)
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _read_secrets(self) -> Secrets:
        path = self.path / "secrets.json"
        if not path.exists():
            made = Secrets(
                postgres_password=secrets.token_urlsafe(24),
                valkey_password=secrets.token_urlsafe(24),
                s3_access_key_id=secrets.token_hex(10),
                s3_secret_access_key=secrets.token_urlsafe(30),
            )
            self.write_secret(path.name, made.model_dump_json())
        return Secrets.model_validate_json(path.read_text())

    def _choose_ports(self) -> dict[str, int]:
        """The ports of the last time where they are free, since servers remember addresses; else others."""
        path = self.path / "ports.json"
        remembered: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        ports: dict[str, int] = {}
        for name in PORT_NAMES:
            before = remembered.get(name)
            ports[name] = before if before is not None and is_free(before) else find_free_port(set(ports.values()))
        path.write_text(json.dumps(ports))
        return ports


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_lives(file: TextIO) -> bool:
    file.seek(0)
    owner = file.read().strip()
    if not owner:
        return True  # it has the lock and is about to write its number
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
