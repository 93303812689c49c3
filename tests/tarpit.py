"""A server that hangs: the kernel accepts connections for it, and nobody ever answers."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cli.ports import LOOPBACK


@contextmanager
def open_tarpit() -> Iterator[int]:
    """Its port."""
    with socket.create_server((LOOPBACK, 0), backlog=64) as server:
        port: int = server.getsockname()[1]
        yield port
