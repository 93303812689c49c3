"""The ASGI layer that lets in whom `Admission` admits, and bounds the body, before any parsing."""

import asyncio
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.admission import Admission
from api.errors import render
from api.request_kinds import OPEN_PATHS, PREDICT_PATHS, is_upload
from core.errors import BituneError, TooLargeError, UnauthenticatedError
from core.keys import Principal

UPLOAD_OVERHEAD_BYTES = 1024**2  # boundaries and fields around the file


class BodyLimits(NamedTuple):
    upload_bytes: int
    predict_bytes: int
    json_bytes: int


class GateLayer:
    """Refuses by headers alone, and stops reading a body at its limit, whatever its headers promised.

    Predict for whom it trusts begins at once, as far as `once_admitted` lets it, and is broken off if it is refused.
    """

    def __init__(self, app: ASGIApp, *, admission: Admission, limits: BodyLimits) -> None:
        self._app = app
        self._admission = admission
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        scope["state"]["admitted"] = asyncio.Event()
        try:
            secret = _read_key(Headers(scope=scope))
            self._admission.require_room(secret, scope)
            too_large = _find_too_large(self._limits, scope)
            trusted = None if too_large else self._admission.find_trusted(secret, scope)
            if trusted is None:
                _let_in(await self._admission.admit(secret, scope), scope)
                if too_large:
                    raise too_large
        except BituneError as exc:
            await render(exc, scope)(scope, receive, send)
            return
        if trusted is None:
            await self._run_limited(scope, receive, send)
        else:
            await self._run_early(secret, trusted, scope, receive, send)

    async def _run_early(self, secret: str, trusted: Principal, scope: Scope, receive: Receive, send: Send) -> None:
        """The app begins; nothing of its answer is sent before the request is admitted."""
        scope["state"]["principal"] = trusted

        async def send_once_admitted(message: Message) -> None:
            await scope["state"]["admitted"].wait()
            await send(message)

        running = asyncio.create_task(self._run_limited(scope, receive, send_once_admitted))
        running.add_done_callback(_note_error)
        try:
            principal = await self._admission.admit_begun(secret, scope, trusted)
        except BituneError as exc:
            running.cancel()
            await render(exc, scope)(scope, receive, send)
        else:
            _let_in(principal, scope)
            await running
        finally:
            running.cancel()

    async def _run_limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An over-long body ends the stream, and whatever the app answers then is replaced by a 413."""
        limit = _find_limit(self._limits, scope)
        received = 0
        refused = False
        replaced = False

        async def receive_limited() -> Message:
            nonlocal received, refused
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                refused = True
                return {"type": "http.disconnect"}
            return message

        async def send_or_refuse(message: Message) -> None:
            nonlocal replaced
            if refused and message["type"] == "http.response.start":
                replaced = True
                await render(_too_large(limit), scope)(scope, receive, send)
            if not replaced:
                await send(message)

        try:
            await self._app(scope, receive_limited, send_or_refuse)
        except Exception:  # of an app that we cut short: whatever comes of it, the client hears why
            if not refused or replaced:
                raise
        if refused and not replaced:
            await render(_too_large(limit), scope)(scope, receive, send)


def _let_in(principal: Principal, scope: Scope) -> None:
    scope["state"]["principal"] = principal
    scope["state"]["admitted"].set()


def _note_error(ended: "asyncio.Task[None]") -> None:
    """Where a refusal came first, nobody asks for this one."""
    if not ended.cancelled():
        ended.exception()


def _read_key(headers: Headers) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise UnauthenticatedError(
            "key_required", "the request has no API key", hint="send `Authorization: Bearer bt_…`"
        )
    return secret.strip()


def _find_limit(limits: BodyLimits, scope: Scope) -> int:
    if PREDICT_PATHS.match(scope["path"]):
        return limits.predict_bytes
    if is_upload(scope):
        return limits.upload_bytes + UPLOAD_OVERHEAD_BYTES
    return limits.json_bytes


def _find_too_large(limits: BodyLimits, scope: Scope) -> TooLargeError | None:
    """By what its headers promise."""
    length, limit = Headers(scope=scope).get("content-length", "0"), _find_limit(limits, scope)
    return None if length.isdecimal() and int(length) <= limit else _too_large(limit)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        "body_too_large", f"the body is larger than {limit} bytes", hint="send less, or give a URL instead of the bytes"
    )
