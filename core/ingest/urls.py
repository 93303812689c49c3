"""Judges a dataset URL by its text alone: no network, cheap enough for the API."""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from core.ingest.addresses import is_public
from core.ingest.errors import FetchError
from core.settings import Settings

MAX_URL_LENGTH = 2048
PRINTABLE = re.compile(r"[!-~]+")
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")
DEFAULT_PORTS = {"https": 443, "http": 80}


class UrlPolicy(BaseModel):
    """What the operator allows. An allowed host may be private, speak plain http, and listen on any port."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    allow_http: bool = False
    allowed_hosts: tuple[str, ...] = ()
    connect_seconds: float = 5.0
    first_byte_seconds: float = 10.0
    idle_seconds: float = 15.0
    total_seconds: float = 3600.0

    @classmethod
    def from_settings(cls, settings: Settings) -> "UrlPolicy":
        return cls(allow_http=settings.url_allow_http, allowed_hosts=settings.url_allowed_hosts)

    def allows(self, host: str) -> bool:
        return host in self.allowed_hosts


@dataclass(frozen=True)
class ParsedUrl:
    """What is checked is what is used: nothing parses the text again."""

    scheme: str  # https or http
    host: str
    port: int
    target: str  # path and query

    @property
    def text(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.target}"


def check_url(url: str, policy: UrlPolicy) -> None:
    """Raises FetchError for a URL that will never be fetched; what its name resolves to is judged at the fetch."""
    parse_url(url, policy)


def parse_url(url: str, policy: UrlPolicy) -> ParsedUrl:
    parsed = _parse(url)
    if policy.allows(parsed.host):
        return parsed
    if parsed.scheme == "http" and not policy.allow_http:
        raise _refuse("only https URLs are fetched")
    if parsed.port != DEFAULT_PORTS[parsed.scheme]:
        raise _refuse("only the standard port is fetched from")
    if _is_private(parsed.host.rstrip(".")):
        raise _refuse("the URL points to a private address")
    return parsed


def _parse(url: str) -> ParsedUrl:
    if len(url) > MAX_URL_LENGTH or not PRINTABLE.fullmatch(url) or "\\" in url:
        raise _invalid(f"the URL is longer than {MAX_URL_LENGTH} characters, or not plain ASCII")
    try:
        split = urlsplit(url)
        host, port = split.hostname or "", split.port
    except ValueError as exc:
        raise _invalid("the URL cannot be parsed") from exc
    if split.scheme not in DEFAULT_PORTS:
        raise _refuse("only https URLs are fetched")
    if "@" in split.netloc:
        raise _refuse("a URL with a user name or password is not fetched")
    if not HOST_NAME.fullmatch(host) and _parse_address(host) is None:
        raise _invalid("the URL has no valid host")
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return ParsedUrl(split.scheme, host, DEFAULT_PORTS[split.scheme] if port is None else port, target)


def _is_private(host: str) -> bool:
    address = _parse_address(host)
    return host == "localhost" or host.endswith(".localhost") or (address is not None and not is_public(address))


def _parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Also the spellings that only the resolver knows, such as 2130706433 and 0x7f.1."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _refuse(message: str) -> FetchError:
    return FetchError("url_not_allowed", message, hint="the operator can list the host in BITUNE_URL_ALLOWED_HOSTS")


def _invalid(message: str) -> FetchError:
    return FetchError("url_invalid", message, hint="percent-encode the path and write the host in punycode")
