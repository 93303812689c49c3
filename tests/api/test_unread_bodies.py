import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.unread_bodies import UnreadBodyLayer
from tests.abuse.raw_clients import BLOCK, CHUNK, push
from tests.conditions import wait_until

UNTIL_BYTES = 64 * 1024**2
EARLY_BYTES = 16 * 1024**2  # what the kernels' buffers take
LENGTH_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % UNTIL_BYTES
CHUNKED_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads nothing."""
    await PlainTextResponse("no", status_code=401)(scope, receive, send)


@contextmanager
def serve(app: ASGIApp) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started, seconds=20)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_connection_of_a_refused_body_ends() -> None:
    with serve(UnreadBodyLayer(refuse)) as port:
        pushed = [
            push(port, LENGTH_HEAD, BLOCK, until_bytes=UNTIL_BYTES),
            push(port, CHUNKED_HEAD, CHUNK, until_bytes=UNTIL_BYTES),
        ]

    assert [(item.status, item.is_held) for item in pushed] == [(401, False), (401, False)]
    assert max(item.sent_bytes for item in pushed) < EARLY_BYTES


def test_without_the_layer_the_connection_is_held() -> None:
    with serve(refuse) as port:
        pushed = push(port, LENGTH_HEAD, BLOCK, until_bytes=UNTIL_BYTES, seconds=0.5)

    assert (pushed.status, pushed.is_held) == (401, True)
