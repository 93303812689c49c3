"""`BITUNE_HOME`: one local stack's folder, its lock, its secrets, its ports."""

import fcntl
import json
import os
import secrets
import socket
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, ConfigDict

from cli.errors import LocalStackError

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
    """Holds the lock of the folder for as long as it lives, so that one stack at a time uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise LocalStackError(f"{self.path} cannot be made ({exc.strerror}); choose another with --home") from exc
        self._lock = self._take_lock()
        self.secrets = self._read_secrets()
        self.ports = self._choose_ports()

    def close(self) -> None:
        self._lock.close()

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def write_secret(self, name: str, content: str) -> None:
        handle = os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(content)

    def _take_lock(self) -> TextIO:
        try:
            file = (self.path / "lock").open("w")
        except OSError as exc:
            raise LocalStackError(f"{self.path} cannot be written to ({exc.strerror}); choose another --home") from exc
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            file.close()
            raise LocalStackError(f"{self.path} is in use by another bitune; stop it or choose another --home") from exc
        return file

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


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def find_free_port(taken: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port
