"""Requests a second of a project: a token bucket in the broker, which all API processes share."""

import time
from math import ceil
from typing import cast

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import OverloadedError, UnavailableError

log = structlog.get_logger()

BURST_SECONDS = 5  # a project that was quiet may send so many seconds' worth at once
PATIENCE_SECONDS = 0.5
SILENCE_SECONDS = 5.0  # after the broker did not answer it is not asked for so long
TAKE = """
local rate, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or capacity
local passed = math.max(0, now - (tonumber(bucket[2]) or now))
tokens = math.min(capacity, tokens + passed * rate)
local wait_ms = 0
if tokens >= 1 then tokens = tokens - 1 else wait_ms = math.ceil(1000 * (1 - tokens) / rate) end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(1000 * capacity / rate) + 1000)
return wait_ms
"""


class RateLimitedError(OverloadedError):
    def __init__(self, per_second: int, wait_seconds: float) -> None:
        super().__init__(
            "quota_requests_per_second",
            f"the project sends more than {per_second} requests a second",
            hint="wait as `Retry-After` says, poll less often with `wait=`, or ask the operator for more",
        )
        self.retry_after_seconds = max(1, ceil(wait_seconds))


class RateLimiter:
    """While the broker is away, what reads is let through and uploads are not: nobody counts them."""

    def __init__(self, broker_url: str) -> None:
        self._broker = redis.Redis.from_url(
            broker_url,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),  # a connection of before a restart
            client_name="bitune-limits",
        )
        self._take = self._broker.register_script(TAKE)
        self._silent_until = 0.0

    def require(self, project_id: str, per_second: int | None, *, is_upload: bool) -> None:
        """Raises RateLimitedError when the bucket is empty, and UnavailableError for an upload that is not counted."""
        if per_second is None:
            return
        wait_seconds = self._ask(project_id, per_second)
        if wait_seconds is None:
            if is_upload:
                raise _uncounted()
        elif wait_seconds > 0:
            raise RateLimitedError(per_second, wait_seconds)

    def close(self) -> None:
        self._broker.close()

    def _ask(self, project_id: str, per_second: int) -> float | None:
        """How long the bucket is empty for; None when nobody knows."""
        if per_second == 0:
            return BURST_SECONDS
        if time.monotonic() < self._silent_until:
            return None
        if self._silent_until:
            self._begin_silence()  # the broker was away: one asks for all
        try:
            found = self._take(keys=[f"bitune:rate:{project_id}"], args=[per_second, per_second * BURST_SECONDS])
        except redis.RedisError as exc:
            self._begin_silence()
            log.warning("rate_not_limited", error=type(exc).__name__)
            return None
        self._silent_until = 0.0
        return cast(int, found) / 1000  # the client does not type what a script returns

    def _begin_silence(self) -> None:
        self._silent_until = time.monotonic() + SILENCE_SECONDS


def _uncounted() -> UnavailableError:
    return UnavailableError(
        "limits_unavailable", "the server that counts requests does not answer: no upload is taken", hint="try again"
    )
