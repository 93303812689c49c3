"""Judges a stranger's URL by its text alone: no network, cheap enough for the API."""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from core.ingest.addresses import is_public
from core.ingest.errors import FetchError
from core.ingest.url_policy import UrlPolicy

__all__ = ["ParsedUrl", "UrlPolicy", "check_url", "parse_address", "parse_url"]

MAX_URL_LENGTH = 2048
PRINTABLE = re.compile(r"[!-~]+")
LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")
NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")  # as the last label it makes a host an address, or nothing
INNER_NAMES = re.compile(r"[^.]+|(.+\.)?(localhost|local|internal|home\.arpa)")  # never those of the internet
NOT_ALLOWED_HINT = "the operator can list the host in BITUNE_URL_ALLOWED_HOSTS, or by `bitune up --allow-host`"
DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class ParsedUrl:
    """What is checked is what is used: nothing parses the text again."""

    scheme: str  # https or http
    host: str
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def check_url(url: str, policy: UrlPolicy) -> None:
    """Raises FetchError for a URL that will never be fetched; what its name resolves to is judged at the fetch."""
    parse_url(url, policy)


def parse_url(url: str, policy: UrlPolicy) -> ParsedUrl:
    parsed = _parse(url)
    if policy.allows(parsed.host):
        return parsed
    if parsed.scheme == "http" and not policy.allow_http:
        raise _refuse("only https URLs are fetched")
    if parsed.port != DEFAULT_PORTS[parsed.scheme] and parsed.port not in policy.extra_ports:
        raise _refuse("only the standard port is fetched from")
    if _is_inner(parsed.host):
        raise _refuse("the URL points to a private address")
    return parsed


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Also the spellings that only the resolver knows, such as 2130706433 and 0x7f.1."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def _parse(url: str) -> ParsedUrl:
    if len(url) > MAX_URL_LENGTH or not PRINTABLE.fullmatch(url) or "\\" in url:
        raise _invalid(f"the URL is longer than {MAX_URL_LENGTH} characters, or not plain ASCII")
    try:
        split = urlsplit(url)
        host, port = (split.hostname or "").removesuffix("."), split.port
    except ValueError as exc:
        raise _invalid("the URL cannot be parsed") from exc
    if split.scheme not in DEFAULT_PORTS:
        raise _refuse("only https URLs are fetched")
    if "@" in split.netloc:
        raise _refuse("a URL with a user name or password is not fetched")
    if not _is_host(host):
        raise _invalid("the URL has no valid host")
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return ParsedUrl(split.scheme, host, DEFAULT_PORTS[split.scheme] if port is None else port, target)


def _is_host(host: str) -> bool:
    if "%" in host:  # an address with a zone
        return False
    if parse_address(host) is not None:
        return True
    return HOST_NAME.fullmatch(host) is not None and not NUMBER.fullmatch(host.rpartition(".")[2])


def _is_inner(host: str) -> bool:
    address = parse_address(host)
    return INNER_NAMES.fullmatch(host) is not None if address is None else not is_public(address)


def _refuse(message: str) -> FetchError:
    return FetchError("url_not_allowed", message, hint=NOT_ALLOWED_HINT)


def _invalid(message: str) -> FetchError:
    return FetchError("url_invalid", message, hint="percent-encode the path and write the host in punycode")
