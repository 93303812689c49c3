"""The ASGI layer that asks for key, scope, room and rate, and bounds the body, before any parsing."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import render
from api.limits import RateLimitedError, RateLimiter
from api.picture_gate import PictureGate
from api.remembered import Remembered
from api.request_kinds import OPEN_PATHS, PREDICT_PATHS, brings_upload, find_needed_scope, is_upload
from api.shared_reads import SharedReads
from core.errors import BituneError, ForbiddenError, TooLargeError, UnauthenticatedError
from core.keys import Principal, hash_secret

LOOK_UP_THREADS = 8
UPLOAD_OVERHEAD_BYTES = 1024**2  # boundaries and fields around the file


class BodyLimits(NamedTuple):
    upload_bytes: int
    predict_bytes: int
    json_bytes: int


class GateLayer:
    """Refuses by headers alone, and stops reading a body at its limit, whatever its headers promised.

    Predict does not wait for that where the key was found last time: its route reads and decodes meanwhile, and asks
    `wait_until_admitted` before it does more.
    """

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
        headers, limit = Headers(scope=scope), _find_limit(self._limits, scope)
        try:
            secret = _read_key(headers)
            known = None if _is_too_long(headers, limit) else self._find_known(secret, scope)
            admission = asyncio.create_task(self._admit(secret, known, scope))
            scope["state"]["admission"] = admission
            scope["state"]["principal"] = await admission if known is None else known
            if _is_too_long(headers, limit):
                raise _too_large(limit)
        except BituneError as exc:
            await render(exc, scope)(scope, receive, send)
            return
        if known is None:
            await self._run_limited(scope, receive, send, limit)
        else:
            await self._run_early(scope, receive, send, limit, admission)

    def _find_known(self, secret: str, scope: Scope) -> Principal | None:
        """Whose predict may begin: the key was found last time.

        Raises what refuses it where there is no room: refusals are many, so they ask no database.
        """
        known = self._remembered.recall(hash_secret(secret)) if PREDICT_PATHS.match(scope["path"]) else None
        if known is None:
            return None
        self._picture_gate.require_room(known.project_id)
        return known if find_needed_scope(scope["method"], scope["path"]) in known.scopes else None

    async def _admit(self, secret: str, known: Principal | None, scope: Scope) -> Principal:
        """Key, scope, room, rate; requests that come at a time with one key look it up together."""
        key_hash = hash_secret(secret)
        try:
            principal: Principal = await self._look_ups.read(secret, partial(self._authenticate, secret))
            self._remembered.keep(key_hash, principal)
            _require_scope(principal, scope)
            if known is None and PREDICT_PATHS.match(scope["path"]):  # else its own pictures may fill the room by now
                self._picture_gate.require_room(principal.project_id)
            await self._count(principal, scope)
        except (UnauthenticatedError, RateLimitedError):
            self._remembered.forget(key_hash)  # what comes next begins nothing
            raise
        scope["state"]["is_admitted"] = True
        return principal

    async def _count(self, principal: Principal, scope: Scope) -> None:
        """Raises RateLimitedError for a request too many."""
        if (rate := principal.requests_per_second) is not None:
            is_upload = brings_upload(scope)
            await run_in_threadpool(self._limiter.require, principal.project_id, rate, is_upload=is_upload)

    async def _run_early(
        self, scope: Scope, receive: Receive, send: Send, limit: int, admission: "asyncio.Task[Principal]"
    ) -> None:
        """The app begins, and nothing is sent before the request is admitted; a refusal ends it."""
        admitted = asyncio.Event()

        async def send_once_admitted(message: Message) -> None:
            await admitted.wait()
            await send(message)

        running = asyncio.create_task(self._run_limited(scope, receive, send_once_admitted, limit))
        running.add_done_callback(_note_error)
        try:
            await admission
        except BituneError as exc:
            await render(exc, scope)(scope, receive, send)
        else:
            admitted.set()
            await running
        finally:
            running.cancel()

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


def _note_error(ended: "asyncio.Task[None]") -> None:
    """Where a refusal came first, nobody asks for this one."""
    if not ended.cancelled():
        ended.exception()


def _require_scope(principal: Principal, scope: Scope) -> None:
    needed = find_needed_scope(scope["method"], scope["path"])
    if needed not in principal.scopes:
        raise ForbiddenError("scope_missing", f"the key lacks the scope '{needed}'", hint="use a key that has it")


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


def _is_too_long(headers: Headers, limit: int) -> bool:
    length = headers.get("content-length", "0")
    return not length.isdecimal() or int(length) > limit


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        "body_too_large", f"the body is larger than {limit} bytes", hint="send less, or give a URL instead of the bytes"
    )
