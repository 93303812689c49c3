"""What the fault proxy can do to a request: a closed union, each with a filter of the requests that it hits."""

import re
from dataclasses import dataclass

from tests.chaos.http_messages import Request

WRITES = frozenset({"PUT", "POST", "DELETE"})


@dataclass(frozen=True, kw_only=True)
class _Filter:
    methods: frozenset[str] = frozenset()  # none named: all
    key_pattern: str = ""  # searched in the key; what concerns a whole bucket has the key ""
    limit: int | None = None  # requests hit before the fault ends by itself

    def matches(self, request: Request) -> bool:
        is_method = not self.methods or request.method in self.methods
        return is_method and re.search(self.key_pattern, request.key) is not None


@dataclass(frozen=True, kw_only=True)
class Unavailable(_Filter):
    """Answers an error of S3's and forwards nothing."""

    status: int = 503
    code: str = "SlowDown"


@dataclass(frozen=True, kw_only=True)
class Hang(_Filter):
    """Reads the head, never answers, and drops the connection once the fault is over."""


@dataclass(frozen=True, kw_only=True)
class Refuse(_Filter):
    """Resets the connection before anything is forwarded."""


@dataclass(frozen=True, kw_only=True)
class LostAnswer(_Filter):
    """Lets the request happen, then resets: the client cannot know that it did."""

    methods: frozenset[str] = WRITES


@dataclass(frozen=True, kw_only=True)
class Truncate(_Filter):
    """Promises the whole object by Content-Length, sends a part of it and closes."""

    fraction: float = 0.5
    methods: frozenset[str] = frozenset({"GET"})
    key_pattern: str = "."


@dataclass(frozen=True, kw_only=True)
class Corrupt(_Filter):
    """Flips a bit in every byte of an object's second half; the head stays as it is."""

    methods: frozenset[str] = frozenset({"GET"})
    key_pattern: str = "."


@dataclass(frozen=True, kw_only=True)
class Slow(_Filter):
    """Passes bodies at a rate, each connection for itself."""

    bytes_per_second: int


@dataclass(frozen=True, kw_only=True)
class Reset(_Filter):
    """Resets the connection once this much of a request's or an answer's body has passed."""

    after_bytes: int


RequestFault = Unavailable | Hang | Refuse
AnswerFault = LostAnswer | Truncate | Corrupt
BodyFault = Slow | Reset
Fault = RequestFault | AnswerFault | BodyFault
