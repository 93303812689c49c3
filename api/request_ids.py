"""The outermost ASGI layer: a request's id, its line in the log, and an answer to what nothing else caught."""

import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import render
from core.ids import make_id

log = structlog.get_logger()

CLIENT_GONE = 499  # in the log alone, as nginx writes it


class RequestIdLayer:
    """Gives each request an id, binds it to the log, and renders what nothing else caught."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = make_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        began_at = time.monotonic()
        status = 0  # until the response has started

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                status = CLIENT_GONE  # whatever was sent to it
                log.info("client_gone")
            except Exception as exc:  # the outermost edge: whatever it is becomes a 500
                if status:
                    log.exception("request_failed", status=status)
                else:
                    await render(exc, scope)(scope, receive, send_with_id)
            seconds = round(time.monotonic() - began_at, 4)
            log.info("request", method=scope["method"], path=scope["path"], status=status, seconds=seconds)
