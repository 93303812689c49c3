"""From names to addresses: once for each connection, and in bounded time."""

import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

Address = IPv4Address | IPv6Address
Lookup = Callable[[str], list[str]]  # addresses of a name; raises OSError when there is none


def look_up_by_system(name: str) -> list[str]:
    """IPv4 first. A name that ends with a dot is not tried below the host's own domains."""
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError("the name cannot be encoded") from exc
    return [str(info[4][0]) for info in sorted(infos, key=lambda info: info[0] != socket.AF_INET)]


def resolve(names: Sequence[str], lookup: Lookup, timeout_seconds: float) -> list[list[Address]] | None:
    """The addresses of each name; none when time is up. In a thread, for the system's resolver has no time-out."""
    found: list[list[Address]] = []

    def look_up_all() -> None:
        found.extend([_look_up(name, lookup) for name in names])

    thread = threading.Thread(target=look_up_all, name="resolve", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return found or None


def _look_up(name: str, lookup: Lookup) -> list[Address]:
    try:
        return [ip_address(address) for address in dict.fromkeys(lookup(name))]
    except (OSError, ValueError):
        return []
