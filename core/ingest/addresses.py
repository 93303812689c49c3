"""Which addresses of the internet a fetch may connect to."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_network

# ipaddress.is_global changes with the version of Python and lets many of these through, so they are named here.
REFUSED_V4 = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",  # holds Oracle's metadata server
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
UNICAST_V6 = ip_network("2000::/3")  # outside: loopback, mapped, NAT64, unique local, link local, multicast …
REFUSED_V6 = tuple(
    ip_network(text)
    for text in (
        "2001::/23",  # Teredo and its like
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether it is a unicast address of the open internet, and wraps no other address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in REFUSED_V4)
    return address in UNICAST_V6 and not any(address in network for network in REFUSED_V6)


def is_own(address: IPv4Address | IPv6Address) -> bool:
    """Whether an interface of this host has it, public or not: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True
