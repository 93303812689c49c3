"""Real servers on loopback that answer every request with the same bytes."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

Answer = list[bytes]  # written one after the other


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer, *, keep_open: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.keep_open = keep_open
        self.requests: list[bytes] = []


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        server.requests.append(self.request.recv(65_536))
        with suppress(OSError):
            for piece in server.answer:
                self.request.sendall(piece)
            if server.keep_open:
                self.request.recv(1)  # until the client goes


class Served:
    def __init__(self, server: _Server) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_address[1]}/cells.zip"

    @property
    def requests(self) -> list[bytes]:
        return self._server.requests


@contextmanager
def serve(*answer: bytes, keep_open: bool = False) -> Iterator[Served]:
    with _Server(list(answer), keep_open=keep_open) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Served(server)
        finally:
            server.shutdown()
            thread.join()
