"""Who is admitted, by key, scope, room and rate; and whose predict may begin before that is known."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, cast

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope

from api.limits import RateLimiter
from api.picture_gate import PictureGate
from api.remembered import Remembered
from api.request_kinds import PREDICT_PATHS, brings_upload, find_needed_scope
from api.shared_reads import SharedReads
from core.errors import ForbiddenError, UnauthenticatedError, UnavailableError
from core.keys import Principal, hash_secret

Result = TypeVar("Result")

LOOK_UP_THREADS = 8


class Admission:
    """Asks database and broker for every request; what it remembers admits nobody."""

    def __init__(
        self, *, authenticate: Callable[[str], Principal], limiter: RateLimiter, picture_gate: PictureGate
    ) -> None:
        self._authenticate = authenticate
        self._look_ups = SharedReads(num_threads=LOOK_UP_THREADS)
        self._limiter = limiter
        self._picture_gate = picture_gate
        # Both by the hash of a key: whose it was when it was looked up last, and when it was admitted last.
        self._found: Remembered[str, Principal] = Remembered()
        self._admitted: Remembered[str, Principal] = Remembered()

    def require_room(self, secret: str, scope: Scope) -> None:
        """Judges by the project that the key had last time, without the database: refusals are many."""
        if (found := self._found.recall(hash_secret(secret))) is not None:
            self._require_room(found, scope)

    def find_trusted(self, secret: str, scope: Scope) -> Principal | None:
        """Whose predict may begin before it is admitted; not with `Expect`, where to read a body is to ask for it."""
        if not PREDICT_PATHS.match(scope["path"]) or "expect" in Headers(scope=scope):
            return None
        known = self._admitted.recall(hash_secret(secret))
        return known if known is not None and find_needed_scope(scope) in known.scopes else None

    async def admit(self, secret: str, scope: Scope) -> Principal:
        """Requests that come at a time with one key look it up together."""
        return await self._admit(secret, scope, lambda principal: self._require_room(principal, scope))

    async def admit_begun(self, secret: str, scope: Scope, trusted: Principal) -> Principal:
        """There was room for what has begun: its own pictures may fill it by now."""
        return await self._admit(secret, scope, lambda principal: _require_same_project(principal, trusted))

    async def _admit(self, secret: str, scope: Scope, require: Callable[[Principal], None]) -> Principal:
        key_hash = hash_secret(secret)
        try:
            principal = await self._look_up(secret, key_hash)
            _require_scope(principal, scope)
            require(principal)
            await self._count(principal, scope)
        except Exception:  # whatever it was, nothing more begins until one was admitted
            self._admitted.forget(key_hash)
            raise
        self._admitted.keep(key_hash, principal)
        return principal

    async def _look_up(self, secret: str, key_hash: str) -> Principal:
        try:
            principal: Principal = await self._look_ups.read(secret, partial(self._authenticate, secret))
        except UnauthenticatedError:
            self._found.forget(key_hash)
            raise
        self._found.keep(key_hash, principal)
        return principal

    def _require_room(self, principal: Principal, scope: Scope) -> None:
        if PREDICT_PATHS.match(scope["path"]):
            self._picture_gate.require_room(principal.project_id)

    async def _count(self, principal: Principal, scope: Scope) -> None:
        """Raises RateLimitedError for a request too many."""
        if (rate := principal.requests_per_second) is not None:
            is_upload = brings_upload(scope)
            await run_in_threadpool(self._limiter.require, principal.project_id, rate, is_upload=is_upload)


async def once_admitted(request: Request, work: Awaitable[Result]) -> Result:
    """The result or the error of `work`, held back until the request is admitted; a refused one gets neither."""
    admitted = cast(asyncio.Event, request.state.admitted)  # set by GateLayer, which cancels what is refused
    try:
        result = await work
    except Exception:  # whatever it is, it is raised when it may be told
        await admitted.wait()
        raise
    await admitted.wait()
    return result


def _require_scope(principal: Principal, scope: Scope) -> None:
    needed = find_needed_scope(scope)
    if needed not in principal.scopes:
        raise ForbiddenError("scope_missing", f"the key lacks the scope '{needed}'", hint="use a key that has it")


def _require_same_project(principal: Principal, trusted: Principal) -> None:
    if principal.project_id != trusted.project_id:
        raise UnavailableError("key_moved", "the key now belongs to another project", hint="send the request again")
