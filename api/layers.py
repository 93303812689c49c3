"""The ASGI layers around the finished app: request id outermost, then key, scope and body size, before any parsing."""

import asyncio
import re
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import render
from api.limits import RateLimiter
from api.picture_gate import PictureGate
from api.remembered import Remembered
from api.shared_reads import SharedReads
from core.errors import BituneError, ForbiddenError, TooLargeError, UnauthenticatedError
from core.ids import make_id
from core.keys import Principal, hash_secret

log = structlog.get_logger()

OPEN_PATHS = frozenset({"/livez", "/readyz", "/openapi.json", "/docs"})
ADMIN_PATHS = re.compile(r"^/(metrics|workers|keys)(/|$)")
PREDICT_PATHS = re.compile(r"^(/predict|/models/[^/]+/predict)$")
UPLOAD_PATHS = re.compile(r"^/uploads(/|$)")  # what is read there are URLs that write
LOOK_UP_THREADS = 8
CLIENT_GONE = 499  # in the log alone, as nginx writes it
UPLOAD_OVERHEAD_BYTES = 1024**2  # boundaries and fields around the file


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


class BodyLimits(NamedTuple):
    upload_bytes: int
    predict_bytes: int
    json_bytes: int


class GateLayer:
    """Refuses by headers alone, and stops reading a body at its limit, whatever its headers promised."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticate: Callable[[str], Principal],
        limiter: RateLimiter,
        limits: BodyLimits,
        picture_gate: PictureGate,
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._look_ups = SharedReads(num_threads=LOOK_UP_THREADS)
        self._limiter = limiter
        self._limits = limits
        self._picture_gate = picture_gate
        self._remembered: Remembered[str, Principal] = Remembered()  # by the hash of a key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            await self._admit(scope, headers)
            limit = _find_limit(self._limits, scope)
            _check_length(headers, limit)
        except BituneError as exc:
            await render(exc, scope)(scope, receive, send)
            return
        await self._run_limited(scope, receive, send, limit)

    async def _admit(self, scope: Scope, headers: Headers) -> None:
        """Key, scope, room, rate; requests that come at a time with one key look it up together.

        The request of a remembered key is counted while the key is looked up; only what is found then admits it.
        """
        secret = _read_key(headers)
        key_hash = hash_secret(secret)
        remembered = self._remembered.recall(key_hash)
        if remembered is not None:
            self._require_room(remembered, scope)  # refusals are many, so they ask no database
        counting = asyncio.create_task(self._count_early(remembered, scope))
        counting.add_done_callback(_note_error)
        try:
            principal = await self._authenticate_and_remember(secret, key_hash=key_hash)
            _require_scope(principal, scope)
            self._require_room(principal, scope)
            await (counting if principal == remembered else self._count(principal, scope))
        finally:
            counting.cancel()
        scope["state"]["principal"] = principal

    async def _authenticate_and_remember(self, secret: str, *, key_hash: str) -> Principal:
        try:
            principal: Principal = await self._look_ups.read(secret, partial(self._authenticate, secret))
        except UnauthenticatedError:
            self._remembered.forget(key_hash)
            raise
        self._remembered.keep(key_hash, principal)
        return principal

    def _require_room(self, principal: Principal, scope: Scope) -> None:
        if PREDICT_PATHS.match(scope["path"]):
            self._picture_gate.require_room(principal.project_id)

    async def _count_early(self, remembered: Principal | None, scope: Scope) -> None:
        """What will be refused for its scope is not counted."""
        if remembered is not None and _needed_scope(scope["method"], scope["path"]) in remembered.scopes:
            await self._count(remembered, scope)

    async def _count(self, principal: Principal, scope: Scope) -> None:
        """Raises RateLimitedError for a request too many."""
        if (rate := principal.requests_per_second) is not None:
            is_upload = brings_upload(scope)
            await run_in_threadpool(self._limiter.require, principal.project_id, rate, is_upload=is_upload)

    async def _run_limited(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """An over-long body ends the stream, and whatever the app answers then is replaced by a 413."""
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
        except Exception:
            if not refused or replaced:
                raise
        if refused and not replaced:
            await render(_too_large(limit), scope)(scope, receive, send)


def _note_error(counted: asyncio.Task[None]) -> None:
    """Where another refusal came first, nobody asks for this one."""
    if not counted.cancelled():
        counted.exception()


def _require_scope(principal: Principal, scope: Scope) -> None:
    needed = _needed_scope(scope["method"], scope["path"])
    if needed not in principal.scopes:
        raise ForbiddenError("scope_missing", f"the key lacks the scope '{needed}'", hint="use a key that has it")


def _read_key(headers: Headers) -> str:
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise UnauthenticatedError(
            "key_required", "the request has no API key", hint="send `Authorization: Bearer bt_…`"
        )
    return secret.strip()


def is_upload(scope: Scope) -> bool:
    """A form whose file goes to the store while it arrives."""
    content_type = Headers(scope=scope).get("content-type", "")
    return scope["path"] == "/datasets" and content_type.startswith("multipart/form-data")


def brings_upload(scope: Scope) -> bool:
    """Whether it sends bytes to keep, or opens a way for them."""
    return is_upload(scope) or (scope["method"] == "POST" and scope["path"] == "/uploads")


def _needed_scope(method: str, path: str) -> str:
    if ADMIN_PATHS.match(path):
        return "admin"
    if PREDICT_PATHS.match(path):
        return "predict"
    return "read" if method in {"GET", "HEAD"} and not UPLOAD_PATHS.match(path) else "write"


def _find_limit(limits: BodyLimits, scope: Scope) -> int:
    if PREDICT_PATHS.match(scope["path"]):
        return limits.predict_bytes
    if is_upload(scope):
        return limits.upload_bytes + UPLOAD_OVERHEAD_BYTES
    return limits.json_bytes


def _check_length(headers: Headers, limit: int) -> None:
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        "body_too_large", f"the body is larger than {limit} bytes", hint="send less, or give a URL instead of the bytes"
    )
