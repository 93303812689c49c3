"""The deadline around a real ASGI app, in tenths of seconds where the service has seconds."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.deadline import DeadlineLayer, Deadlines
from api.errors import render
from api.request_ids import RequestIdLayer
from core.errors import BituneError
from tests.conditions import POLL_SECONDS, wait_until

ANSWER_SECONDS = 0.2
DEADLINES = Deadlines(answer_seconds=ANSWER_SECONDS, predict_seconds=1.0, silence_seconds=1.0)
MUCH_LATER_SECONDS = 10.0


class Server:
    """What the app depends on: it answers once the test lets it."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.waiting = 0
        self.messages: list[str] = []

    def ask(self) -> None:
        self.waiting += 1
        self.answers.wait(MUCH_LATER_SECONDS)
        self.waiting -= 1


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.answers.set()
    wait_until(lambda: server.waiting == 0, seconds=MUCH_LATER_SECONDS)


def make_app(server: Server) -> ASGIApp:
    def ask_server(_: Request) -> PlainTextResponse:  # in a thread, as our routes are
        server.ask()
        return PlainTextResponse("answered")

    async def count_bytes(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def count_and_ask(request: Request) -> PlainTextResponse:
        await request.body()
        await asyncio.to_thread(server.ask)
        return PlainTextResponse("answered")

    async def think(request: Request) -> PlainTextResponse:
        await asyncio.sleep(3 * ANSWER_SECONDS)
        return PlainTextResponse("thought")

    async def trickle(_: Request) -> StreamingResponse:
        return StreamingResponse(send_slowly())

    return Starlette(
        routes=[
            Route("/ask", ask_server),
            Route("/bytes", count_bytes, methods=["POST"]),
            Route("/bytes-and-ask", count_and_ask, methods=["POST"]),
            Route("/think", think),
            Route("/jobs/validate", think, methods=["POST"]),
            Route("/predict", think, methods=["POST"]),
            Route("/trickle", trickle),
        ],
        exception_handlers={BituneError: render_error},
    )


def render_error(request: Request, error: Exception) -> Response:
    return render(error, request.scope)


async def send_slowly() -> AsyncIterator[bytes]:
    """With pauses that are longer than the deadline."""
    for _ in range(2):
        await asyncio.sleep(1.5 * ANSWER_SECONDS)
        yield b"1234"


def admitted(app: ASGIApp) -> ASGIApp:
    """What GateLayer leaves in the state once a request is admitted."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["admitted"] = event = asyncio.Event()
        event.set()
        await app(scope, receive, send)

    return call


@asynccontextmanager
async def connect(app: ASGIApp, *, max_abandoned: int = 10) -> AsyncIterator[httpx.AsyncClient]:
    layers = RequestIdLayer(DeadlineLayer(app, DEADLINES, max_abandoned=max_abandoned))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(layers), base_url="http://test") as client:
        yield client


def request(app: ASGIApp, method: str, path: str, content: AsyncIterator[bytes] | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with connect(app) as client:
            return await client.request(method, path, content=content)

    return asyncio.run(ask())


async def wait_for_end(server: Server) -> None:
    while server.waiting:
        await asyncio.sleep(POLL_SECONDS)


def test_app_that_hangs_is_answered_for(server: Server) -> None:
    async def ask() -> tuple[httpx.Response, float]:
        async with connect(make_app(server)) as client:
            started = time.monotonic()
            answer = await client.get("/ask")
            seconds = time.monotonic() - started
            server.answers.set()
            return answer, seconds

    answer, seconds = asyncio.run(ask())

    assert ANSWER_SECONDS <= seconds < 5 * ANSWER_SECONDS
    assert (answer.status_code, answer.json()["code"]) == (503, "deadline_exceeded")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["retryable"] is True
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_without_the_layer_the_request_hangs(server: Server) -> None:
    async def ask() -> None:
        transport = httpx.ASGITransport(RequestIdLayer(make_app(server)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            try:
                await asyncio.wait_for(client.get("/ask"), 5 * ANSWER_SECONDS)
            finally:
                server.answers.set()

    with pytest.raises(TimeoutError):
        asyncio.run(ask())


def test_app_that_answers_in_time_is_left_alone(server: Server) -> None:
    server.answers.set()

    assert request(make_app(server), "GET", "/ask").text == "answered"


def test_slow_upload_is_not_cut(server: Server) -> None:
    assert request(make_app(server), "POST", "/bytes", send_slowly()).text == "8"


def test_clock_starts_at_the_last_byte_of_a_slow_upload(server: Server) -> None:
    async def ask() -> httpx.Response:
        async with connect(make_app(server)) as client:
            answer = await client.post("/bytes-and-ask", content=send_slowly())
            server.answers.set()
            return answer

    assert asyncio.run(ask()).status_code == 503


def test_answer_that_has_started_is_not_broken_off(server: Server) -> None:
    answer = request(make_app(server), "GET", "/trickle")

    assert (answer.status_code, answer.text) == (200, "1234" * 2)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/think", 503),
        ("GET", "/think?wait=1", 503),
        ("POST", "/jobs/validate", 200),
        ("POST", "/jobs/validate?wait=1", 200),
        ("POST", "/jobs/validate?wait=inf", 200),
        ("POST", "/jobs/validate?wait=0", 503),
        ("POST", "/jobs/validate?wait=-1", 503),
        ("POST", "/jobs/validate?wait=nan", 200),
        ("POST", "/jobs/validate?wait=long", 503),
        ("POST", "/predict", 200),
    ],
)
def test_deadline_is_later_where_waiting_is_meant(server: Server, method: str, path: str, status: int) -> None:
    assert request(admitted(make_app(server)), method, path).status_code == status


@pytest.mark.parametrize(("method", "path"), [("POST", "/jobs/validate?wait=1"), ("POST", "/predict")])
def test_deadline_is_the_same_for_all_until_the_key_is_known(server: Server, method: str, path: str) -> None:
    assert request(make_app(server), method, path).status_code == 503


def test_abandoned_app_finds_its_client_gone_and_is_not_heard(server: Server) -> None:
    async def ask_then_read(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(server.ask)
        server.messages.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        server.messages.append("sent")
        raise RuntimeError("for nobody")

    async def ask() -> httpx.Response:
        async with connect(ask_then_read) as client:
            answer = await client.post("/jobs", content=b"{}")
            server.answers.set()
            while len(server.messages) < 2:
                await asyncio.sleep(POLL_SECONDS)
            return answer

    assert asyncio.run(ask()).status_code == 503
    assert server.messages == ["http.disconnect", "sent"]


def test_more_requests_than_may_be_left_hanging_are_refused_at_once(server: Server) -> None:
    async def ask() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        async with connect(make_app(server), max_abandoned=1) as client:
            overdue = await client.get("/ask")
            refused = await client.get("/ask")
            server.answers.set()
            await wait_for_end(server)
            await asyncio.sleep(POLL_SECONDS)
            return overdue, refused, await client.get("/ask")

    overdue, refused, answered = asyncio.run(ask())

    assert (overdue.status_code, overdue.json()["code"]) == (503, "deadline_exceeded")
    assert (refused.status_code, refused.json()["code"]) == (503, "backlogged")
    assert answered.text == "answered"


def test_crash_of_the_app_is_still_a_500(server: Server) -> None:
    async def crash(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a secret detail")

    answer = request(crash, "GET", "/jobs")

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


def test_cancelled_request_cancels_the_app() -> None:
    ended = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(MUCH_LATER_SECONDS)
        finally:
            ended.set()

    async def ask() -> None:
        async with connect(wait) as client:
            asked = asyncio.create_task(client.get("/jobs"))
            await asyncio.sleep(POLL_SECONDS)
            asked.cancel()
            await asyncio.wait_for(ended.wait(), ANSWER_SECONDS)

    asyncio.run(ask())


def test_client_that_falls_silent_in_its_body_is_sent_away(server: Server) -> None:
    async def stop_half_way() -> AsyncIterator[bytes]:
        yield b"1234"
        await asyncio.sleep(MUCH_LATER_SECONDS)

    started = time.monotonic()
    answer = request(make_app(server), "POST", "/bytes", stop_half_way())

    assert (answer.status_code, answer.json()["code"]) == (422, "body_stalled")
    assert time.monotonic() - started < MUCH_LATER_SECONDS / 2
