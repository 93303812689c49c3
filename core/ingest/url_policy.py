"""What the operator lets strangers' URLs do."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from core.settings import Settings

STANDARD_PORTS = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379, "https": 443, "http": 80}


class OwnServer(BaseModel):
    """A server that this service stands on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int
    may_be_listed: bool = False  # a store asks everybody for a signature; database and broker are nobody's business


class UrlPolicy(BaseModel):
    """What the operator allows. An allowed host may be private, speak plain http, and listen on any port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_http: bool = False
    extra_ports: tuple[int, ...] = ()  # beside 443, and 80 where http is allowed
    allowed_hosts: tuple[str, ...] = ()
    own_servers: tuple[OwnServer, ...] = ()
    ca_file: Path | None = None  # trusted beside the public authorities
    connect_seconds: float = 5.0  # to resolve and connect; once more for TLS
    first_byte_seconds: float = 10.0
    idle_seconds: float = 15.0
    min_bytes_per_second: int = 100_000  # over `rate_seconds` of waiting for the server
    rate_seconds: float = 30.0
    total_seconds: float = 3600.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "UrlPolicy":
        """For datasets."""
        return cls(
            allow_http=settings.url_allow_http,
            extra_ports=settings.url_extra_ports,
            allowed_hosts=settings.url_allowed_hosts,
            own_servers=_list_own_servers(settings),
            ca_file=settings.url_ca_file,
        )

    @classmethod
    def for_pictures(cls, settings: Settings) -> "UrlPolicy":
        """For predict: somebody waits for the answer."""
        seconds = settings.predict_url_seconds
        return cls.from_settings(settings).model_copy(
            update={
                "connect_seconds": min(3.0, seconds / 2),
                "first_byte_seconds": min(5.0, seconds),
                "idle_seconds": min(3.0, seconds),
                "total_seconds": seconds,
            }
        )

    def allows(self, host: str) -> bool:
        return host in self.allowed_hosts


def _list_own_servers(settings: Settings) -> tuple[OwnServer, ...]:
    closed = [settings.database_url.get_secret_value(), settings.broker_url.get_secret_value()]
    stores = [url for url in (settings.s3_endpoint_url, settings.s3_public_endpoint_url) if url]
    found = [_parse_server(url, may_be_listed=False) for url in closed]
    found += [_parse_server(url, may_be_listed=True) for url in stores]
    return tuple(dict.fromkeys(server for server in found if server is not None))


def _parse_server(url: str, *, may_be_listed: bool) -> OwnServer | None:
    split = urlsplit(url)
    if not split.hostname:  # a socket's path
        return None
    port = split.port or STANDARD_PORTS.get(split.scheme.partition("+")[0], 0)
    return OwnServer(host=split.hostname, port=port, may_be_listed=may_be_listed)
