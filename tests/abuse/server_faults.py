"""What a hostile server can do, one function each."""

import gzip
import struct
from collections.abc import Callable
from itertools import repeat

from tests.abuse.fault_server import Behaviour, Exchange

OK = b"HTTP/1.1 200 OK\r\n"
BANNER = "banner-of-the-server"  # no error may repeat what the server sent
BLOCK = b"x" * 65_536
DRIP_SECONDS = 0.05
TLS_ALERT = struct.pack("!BHHBB", 21, 0x0303, 2, 2, 80)
LENGTH = b"Content-Length: %d\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
BANNER_BYTES = BANNER.encode()
ZEROS = gzip.compress(bytes(1024**2))  # a thousandth of it; 10,240 of them are 10 GiB


def answer(*pieces: bytes) -> Behaviour:
    """Reads the request, sends this, and closes."""

    def behave(exchange: Exchange) -> None:
        exchange.read_request()
        for piece in pieces:
            exchange.send(piece)

    return behave


def answer_for_ever(head: bytes, block: bytes = BLOCK) -> Behaviour:
    return answer_then(head, lambda exchange: send_for_ever(exchange, block))


def send_for_ever(exchange: Exchange, block: bytes = BLOCK) -> None:
    for piece in repeat(block):
        exchange.send(piece)


def answer_then(head: bytes, act: Callable[[Exchange], object]) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        exchange.read_request()
        exchange.send(head)
        act(exchange)

    return behave


def drip(head: bytes, content: bytes) -> Behaviour:
    return answer_then(head, lambda exchange: exchange.drip(content, every_seconds=DRIP_SECONDS))


def redirect(location: str) -> Behaviour:
    return answer(f"HTTP/1.1 302 {BANNER}\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


def greet(content: bytes) -> Behaviour:
    """To whatever comes first."""

    def behave(exchange: Exchange) -> None:
        exchange.connection.recv(65_536)
        exchange.send(content)

    return behave


def say_nothing(exchange: Exchange) -> None:
    exchange.hang()


def reset_at_once(exchange: Exchange) -> None:
    exchange.read_request()
    exchange.reset()


def cut_tls(exchange: Exchange) -> None:
    """The connection under the encryption ends without a farewell, in the middle of the body."""
    exchange.read_request()
    exchange.send(OK + b"Content-Length: 1000\r\n\r\nhalf")
    exchange.reset()


def send_gzip_bomb(exchange: Exchange) -> None:
    exchange.read_request()
    exchange.send(OK + b"Content-Encoding: gzip\r\n" + LENGTH % (10_240 * len(ZEROS)))
    for _ in range(10_240):
        exchange.send(ZEROS)


PLAIN_FAULTS: dict[str, Behaviour] = {
    # the eleven of the reference, those of TLS below
    "never-ending body": answer_for_ever(OK + b"\r\n"),
    "length too large": answer(OK + LENGTH % 1000 + BANNER_BYTES),
    "negative length": answer(OK + b"Content-Length: -1\r\n\r\n" + BANNER_BYTES),
    "two lengths": answer(OK + b"Content-Length: 20\r\nContent-Length: 3\r\n\r\n" + BANNER_BYTES),
    "huge chunk": answer_then(OK + CHUNKED + b"ffffffffffffff\r\n", send_for_ever),
    "gzip bomb": send_gzip_bomb,
    "header of 1 MB": answer(OK + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n"),
    # and more
    "length over the cap": answer_then(OK + LENGTH % 10**12, say_nothing),
    "length that is no number": answer(OK + b"Content-Length: many\r\n\r\n" + BANNER_BYTES),
    "silence": say_nothing,
    "silence after the headers": answer_then(OK + LENGTH % 10, say_nothing),
    "drip of headers": drip(OK, b"X-A: b\r\n" * 10_000),
    "drip of a chunk's size": drip(OK + CHUNKED, b"0" * 10_000),
    "drip of a status line": drip(b"", b"HTTP/1.1 200 " + b"O" * 10_000),
    "hints without end": answer_for_ever(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "headers without end": answer_for_ever(OK, b"X-A: b\r\n" * 1000),
    "chunk size without end": answer_for_ever(OK + CHUNKED, b"0" * 1000),
    "chunk extension without end": answer_for_ever(OK + CHUNKED + b"1;", b"a" * 1000),
    "trailers without end": answer_for_ever(OK + CHUNKED + b"1\r\nx\r\n0\r\n", b"X-A: b\r\n" * 1000),
    "chunks of a byte without end": answer_for_ever(OK + CHUNKED, b"1\r\nx\r\n" * 1000),
    "negative chunk": answer(OK + CHUNKED + b"-1\r\nx\r\n"),
    "chunks cut off": answer(OK + CHUNKED + b"5\r\nab"),
    "length and chunks": answer(OK + b"Content-Length: 3\r\n" + CHUNKED + b"1\r\nx\r\n"),
    "compressed as transfer": answer(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "compressed at the second look": answer(
        OK + b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n" + LENGTH % 1 + b"x"
    ),
    "reset before the answer": reset_at_once,
    "reset in the body": answer_then(OK + LENGTH % 1000 + b"half", Exchange.reset),
    "no answer": answer(b""),
    "another protocol": answer(f"SSH-2.0-{BANNER}\r\n".encode()),
    "status 404": answer(f"HTTP/1.1 404 {BANNER}\r\nContent-Length: 20\r\n\r\n{BANNER}".encode()),
    "status 206": answer(b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-2/9\r\n" + LENGTH % 3 + b"abc"),
    "switch of protocols": answer_then(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Exchange.hang),
    "NUL in a header": answer(OK + b"X: a\0b\r\n" + LENGTH % 1 + b"x"),
    "redirect to itself": redirect("/"),
    "redirect without a target": answer(b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n"),
    "redirect with a long target": redirect("https://files.example/" + "a" * 60_000),
}
SECURE_FAULTS: dict[str, Behaviour] = {
    "TLS closed in the body": cut_tls,
    "TLS reset before the answer": reset_at_once,
    "TLS redirect to plain http": redirect("http://www.example/"),
}
HANDSHAKE_FAULTS: dict[str, Behaviour] = {
    "TLS that never finishes": say_nothing,
    "TLS dripped": lambda exchange: exchange.drip(b"\x16\x03\x03\xff\xff" + BLOCK, every_seconds=DRIP_SECONDS),
    "TLS alert": greet(TLS_ALERT),
    "plain http where TLS is due": greet(OK + LENGTH % 3 + b"abc"),
    "TLS closed at once": greet(b""),
}
GOOD: dict[str, tuple[Behaviour, int]] = {  # and how many bytes come
    "length": (answer(OK + LENGTH % 3 + b"abc"), 3),
    "length too small": (answer(OK + LENGTH % 3 + b"abcdef"), 3),  # what was not announced is not read
    "chunks": (answer(OK + CHUNKED + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), 3),
    "no length": (answer(b"HTTP/1.0 200 OK\r\n\r\nabc"), 3),
    "a hint before": (answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + LENGTH % 3 + b"abc"), 3),
    "8 MB": (answer(OK + LENGTH % (128 * len(BLOCK)), *[BLOCK] * 128), 128 * len(BLOCK)),
}
