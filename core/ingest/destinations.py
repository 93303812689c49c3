"""Decides which addresses a fetch connects to."""

from core.ingest.addresses import is_own, is_public
from core.ingest.names import Address, Lookup, resolve
from core.ingest.url_policy import OwnServer, UrlPolicy
from core.ingest.urls import parse_address


def find_destinations(host: str, port: int, policy: UrlPolicy, lookup: Lookup, timeout_seconds: float) -> list[Address]:
    """All addresses of the host when each of them may be connected to; else none."""
    names = [_make_name(host, policy), *(server.host for server in policy.own_servers)]
    answers = resolve(names, lookup, timeout_seconds)
    if answers is None:
        return []
    own = [
        (server, address)
        for server, addresses in zip(policy.own_servers, answers[1:], strict=True)
        for address in addresses
    ]
    is_refused = _is_refused_when_listed if policy.allows(host) else _is_refused
    return [] if any(is_refused(address, port, own) for address in answers[0]) else answers[0]


def _make_name(host: str, policy: UrlPolicy) -> str:
    """A stranger's name is absolute; the operator's may be one of the host's own domains or of its hosts file."""
    return host if policy.allows(host) or parse_address(host) is not None else f"{host}."


def _is_refused(address: Address, _port: int, own: list[tuple[OwnServer, Address]]) -> bool:
    return not is_public(address) or is_own(address) or any(address == other for _, other in own)


def _is_refused_when_listed(address: Address, port: int, own: list[tuple[OwnServer, Address]]) -> bool:
    return any(
        port == server.port and not server.may_be_listed and _is_same_host(address, other) for server, other in own
    )


def _is_same_host(address: Address, other: Address) -> bool:
    """Every interface of this host leads to a server on it, and 0.0.0.0 and ::ffff:127.0.0.1 do too."""
    return address == other or (is_own(address) and is_own(other))
