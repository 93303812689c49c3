"""The three servers of the local stack, and the settings that point at them."""

from pydantic import SecretStr

from cli.home import Home
from cli.postgres import Postgres
from cli.process import GuardedProcess, stop_all
from cli.seaweed import Seaweed
from cli.valkey import Valkey
from core.settings import Settings


class Servers:
    """Started together, stopped together; whoever holds this holds their lives."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.postgres = Postgres(home)
        self.valkey = Valkey(home)
        self.seaweed = Seaweed(home)

    @property
    def processes(self) -> list[GuardedProcess]:
        return [server.process for server in self.all]

    @property
    def all(self) -> tuple[Postgres, Valkey, Seaweed]:
        return self.postgres, self.valkey, self.seaweed

    def start(self) -> None:
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Returns at once; `wait` waits until all three answer."""
        for server in (self.seaweed, self.valkey, self.postgres):
            server.start()

    def wait(self) -> None:
        for server in (self.postgres, self.valkey, self.seaweed):
            server.wait()

    def stop(self) -> None:
        stop_all(self.processes)

    def make_settings(self) -> Settings:
        """What the API and the workers need to know of the servers, beside what the environment says."""
        secrets = self._home.secrets
        return Settings(
            database_url=SecretStr(self.postgres.url),
            broker_url=SecretStr(self.valkey.url),
            s3_endpoint_url=self.seaweed.url,
            s3_access_key_id=SecretStr(secrets.s3_access_key_id),
            s3_secret_access_key=SecretStr(secrets.s3_secret_access_key),
            home=self._home.path,
        )
