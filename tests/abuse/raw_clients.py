"""Clients that break the rules of HTTP, or of good manners."""

import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from cli.ports import LOOPBACK

BLOCK = b"x" * 65_536
CHUNK = b"10000\r\n" + BLOCK + b"\r\n"
SEND_SECONDS = 10.0


@dataclass(frozen=True)
class Pushed:
    """`status` is 0 when the server hung up without one; it holds the connection when it did not."""

    status: int
    sent_bytes: int
    is_held: bool


def push(port: int, head: bytes, piece: bytes, *, until_bytes: int, seconds: float = SEND_SECONDS) -> Pushed:
    """Sends the piece again and again, whatever is answered, until the server hangs up or all is sent."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(BLOCK))
        connection.settimeout(seconds)
        connection.connect((LOOPBACK, port))
        answer = bytearray()
        sent = 0
        is_held = False
        try:
            connection.sendall(head)
            while sent < until_bytes:
                answer += _read_waiting(connection)
                connection.sendall(piece)
                sent += len(piece)
            while received := connection.recv(4096):
                answer += received
        except TimeoutError:
            is_held = True
        except OSError:  # hung up
            with suppress(OSError):
                answer += _read_waiting(connection)
    return Pushed(_read_status(bytes(answer)), sent, is_held)


def _read_waiting(connection: socket.socket) -> bytes:
    is_readable = bool(select.select([connection], [], [], 0)[0])
    return connection.recv(4096) if is_readable else b""


def _read_status(answer: bytes) -> int:
    status = answer.partition(b" ")[2][:3]
    return int(status) if status.isdigit() else 0


@contextmanager
def slow_crowd(port: int, heads: Sequence[bytes], *, size: int, every_seconds: float) -> Iterator[None]:
    """Clients that have sent their heads and go on with a byte now and then; one that is dropped comes again."""
    stopped = threading.Event()
    crowd = threading.Thread(target=_drip, args=(port, heads, size, every_seconds, stopped))
    crowd.start()
    try:
        yield
    finally:
        stopped.set()
        crowd.join()


def _drip(port: int, heads: Sequence[bytes], size: int, every_seconds: float, stopped: threading.Event) -> None:
    connections = [_begin(port, heads[number % len(heads)]) for number in range(size)]
    while not stopped.wait(every_seconds / size):
        number = int(time.monotonic() * size / every_seconds) % size
        try:
            connections[number].send(b"x")
        except OSError:
            connections[number].close()
            connections[number] = _begin(port, heads[number % len(heads)])
    for connection in connections:
        connection.close()


def _begin(port: int, head: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), SEND_SECONDS)
    connection.sendall(head)
    return connection
