"""Servers on loopback that behave as badly as they are told."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

REQUEST_SECONDS = 30.0


class Exchange:
    """One connection, as its server sees it."""

    def __init__(self, connection: socket.socket, stopped: threading.Event) -> None:
        self.connection = connection
        self._stopped = stopped

    def read_request(self) -> bytes:
        """To the end of its headers."""
        request = b""
        while b"\r\n\r\n" not in request and (received := self.connection.recv(65_536)):
            request += received
        return request

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def drip(self, content: bytes, *, every_seconds: float) -> None:
        """Byte by byte, for as long as the client stays."""
        for number in range(len(content)):
            self.send(content[number : number + 1])
            if self._stopped.wait(every_seconds):
                return

    def hang(self) -> None:
        """Until the client goes."""
        while not self._stopped.is_set() and self.connection.recv(65_536):
            pass

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()


Behaviour = Callable[[Exchange], None]


@contextmanager
def serve_fault(behave: Behaviour, ssl_context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Its port."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        accepting = threading.Thread(target=_accept, args=(server, behave, ssl_context, stopped), daemon=True)
        accepting.start()
        yield server.getsockname()[1]
        stopped.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread
    accepting.join(5)


def _accept(
    server: socket.socket, behave: Behaviour, ssl_context: ssl.SSLContext | None, stopped: threading.Event
) -> None:
    with suppress(OSError):  # closed
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection, behave, ssl_context, stopped), daemon=True).start()


def _serve(
    connection: socket.socket, behave: Behaviour, ssl_context: ssl.SSLContext | None, stopped: threading.Event
) -> None:
    connection.settimeout(REQUEST_SECONDS)
    with connection, suppress(OSError):  # the client goes when it has seen enough
        if ssl_context is None:
            behave(Exchange(connection, stopped))
            return
        with ssl_context.wrap_socket(connection, server_side=True) as wrapped:
            behave(Exchange(wrapped, stopped))
