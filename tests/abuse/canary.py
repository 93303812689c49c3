"""A listener on every address of this host that must hear nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary"


class Canary:
    """Answers whoever comes, so that a fetch that reached it would succeed."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.port: int = server.getsockname()[1]
        self.heard: list[str] = []  # the addresses by which it was reached

    def listen(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self._server.accept()
                with connection, suppress(OSError):
                    self.heard.append(connection.getsockname()[0])
                    connection.settimeout(1)
                    connection.recv(65_536)
                    connection.sendall(ANSWER)


@contextmanager
def open_canary() -> Iterator[Canary]:
    with _open_listener() as server:
        canary = Canary(server)
        thread = threading.Thread(target=canary.listen, daemon=True)
        thread.start()
        yield canary
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread
    thread.join(5)


def _open_listener() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", 0))  # noqa: S104 - every address is the point
