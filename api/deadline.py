"""The ASGI layer that answers 503 when the app does not: no server that hangs makes a client wait for longer."""

import asyncio
import re
import time
from typing import NamedTuple
from urllib.parse import parse_qs

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import render
from api.request_kinds import OPEN_PATHS, PREDICT_PATHS, is_upload
from core.errors import InvalidInputError, UnavailableError

log = structlog.get_logger()

ANSWER_SECONDS = 9.0
MAX_WAIT_SECONDS = 60.0
VALIDATE_PATH = "/jobs/validate"
VALIDATE_WAIT_SECONDS = 30.0  # when `wait=` is not given
WAITING_PATHS = re.compile(r"^/jobs/[^/]+$")  # that know `wait=`
MAX_ABANDONED = 100  # what would still run, for nobody, when the server answers again


class Deadlines(NamedTuple):
    """Seconds from the last byte of a request to the first of its answer."""

    answer_seconds: float = ANSWER_SECONDS
    upload_seconds: float = 30.0  # two parts on their way over a slow line; a store that hangs is noticed before
    predict_seconds: float = 60.0
    silence_seconds: float = 60.0  # of a client in the midst of its body


class DeadlineLayer:
    """Leaves an overdue request to itself: a thread that waits for a server cannot be stopped, so nobody awaits it."""

    def __init__(self, app: ASGIApp, deadlines: Deadlines, *, max_abandoned: int = MAX_ABANDONED) -> None:
        self._app = app
        self._deadlines = deadlines
        self._max_abandoned = max_abandoned
        self._abandoned: set[asyncio.Task[None]] = set()  # a task without a reference may be collected while it runs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        if len(self._abandoned) >= self._max_abandoned:
            await render(_backlogged(), scope)(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._deadlines)
        task = asyncio.ensure_future(self._app(scope, exchange.receive, exchange.send))
        await _wait_for_answer(task, exchange)
        if task.done():
            await task
            return
        self._abandon(task, exchange)
        await render(_overdue(), scope)(scope, receive, send)

    def _abandon(self, task: "asyncio.Task[None]", exchange: "_Exchange") -> None:
        exchange.abandoned = True
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        log.warning("request_abandoned", abandoned=len(self._abandoned))

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._abandoned.discard(task)
        error = None if task.cancelled() else task.exception()
        log.info("abandoned_request_ended", error=None if error is None else type(error).__name__)


async def _wait_for_answer(task: "asyncio.Task[None]", exchange: "_Exchange") -> None:
    """Until the task is done or overdue; whoever cancels us cancels the task."""
    try:
        while not task.done() and (left := exchange.seconds_left()) > 0:
            await asyncio.wait({task}, timeout=left)
    except asyncio.CancelledError:
        task.cancel()
        raise


class _Exchange:
    """What passes between client and app, and the clock: it starts anew at every byte that the client sends."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, deadlines: Deadlines) -> None:
        self.started = False
        self.abandoned = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._answer_seconds = deadlines.answer_seconds
        self._silence_seconds = deadlines.silence_seconds
        self._allowed_seconds = _find_allowed_seconds(scope, deadlines)
        self._body_complete = False
        self._waits_for_client = False
        self._heard_at = time.monotonic()

    def seconds_left(self) -> float:
        """Zero or less is overdue. While the client is to send something, and once the answer began, it never is."""
        if self.started or self._waits_for_client:
            return self._answer_seconds
        return self._heard_at + self._limit_seconds() - time.monotonic()

    def _limit_seconds(self) -> float:
        """What a path is allowed holds from admission on: to look up a key takes no longer for anybody."""
        admitted = self._scope.get("state", {}).get("admitted")  # set by GateLayer
        return self._answer_seconds if admitted is None or not admitted.is_set() else self._allowed_seconds

    async def receive(self) -> Message:
        """To the abandoned app its client seems to have gone, so that it does not begin what nobody awaits."""
        if self.abandoned:
            return {"type": "http.disconnect"}
        if self._body_complete:
            return await self._receive()
        self._waits_for_client = True
        try:
            message = await asyncio.wait_for(self._receive(), self._silence_seconds)
        except TimeoutError:
            raise _stalled(self._silence_seconds) from None
        finally:
            self._waits_for_client = False
            self._heard_at = time.monotonic()  # also of who fell silent: to tell him so takes a moment
        self._body_complete = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.abandoned:
            return
        self.started = True
        await self._send(message)


def _find_allowed_seconds(scope: Scope, deadlines: Deadlines) -> float:
    if PREDICT_PATHS.match(scope["path"]):
        return deadlines.predict_seconds
    if is_upload(scope):
        return deadlines.upload_seconds
    if WAITING_PATHS.match(scope["path"]):
        return deadlines.answer_seconds + _read_wait(scope)
    return deadlines.answer_seconds


def _read_wait(scope: Scope) -> float:
    given = parse_qs(scope["query_string"].decode("latin-1")).get("wait")
    default = VALIDATE_WAIT_SECONDS if scope["path"] == VALIDATE_PATH else 0.0
    try:
        wait = default if given is None else float(given[-1])
    except ValueError:
        return 0.0  # the route refuses it
    return max(0.0, min(MAX_WAIT_SECONDS, wait))


def _stalled(seconds: float) -> InvalidInputError:
    return InvalidInputError(
        "body_stalled", f"nothing of the body came for {seconds:g} s", hint="send it again, without a pause"
    )


def _overdue() -> UnavailableError:
    return UnavailableError(
        "deadline_exceeded",
        "a server that the answer needs does not respond",
        hint="try again; what was asked for may have happened",
    )


def _backlogged() -> UnavailableError:
    return UnavailableError("backlogged", "too many requests wait for a server that does not respond", hint="try again")
