"""Hostile servers: each fetch ends in time, within its caps, and tells nothing of what the server sent."""

import ssl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from core.ingest.url_policy import UrlPolicy
from tests.abuse.attempts import MAX_BYTES, Attempt, make_verdict, observe
from tests.abuse.canary import Canary, open_canary
from tests.abuse.certificates import Authority
from tests.abuse.fault_server import Behaviour, serve_fault
from tests.abuse.internet import Internet
from tests.abuse.server_faults import (
    BANNER,
    DRIP_SECONDS,
    GOOD,
    HANDSHAKE_FAULTS,
    LENGTH,
    OK,
    PLAIN_FAULTS,
    SECURE_FAULTS,
    answer,
    drip,
    redirect,
)
from tests.abuse.verdict import Verdict

GROUP = "servers"
NAME = "files.example"
ADDRESS = "93.184.215.15"
NAMES = {NAME: [[ADDRESS]], "inner.example": [["127.0.0.1"]]}
SIDE_BY_SIDE = 8
OPEN = answer(OK + LENGTH % 3 + b"abc")


@dataclass(frozen=True)
class _Case:
    name: str
    behaviour: Behaviour
    scheme: str = "http"
    server_context: ssl.SSLContext | None = None
    num_bytes: int | None = None  # of the body, where it is to be accepted


def run(*, patience: float = 1.0, unprotected: bool = False, only: frozenset[str] = frozenset()) -> Iterator[Verdict]:
    """`patience` scales every time limit. `unprotected` is the control: any certificate, any pace, inner hosts."""
    policy = _make_policy(patience, unprotected=unprotected)
    with tempfile.TemporaryDirectory() as folder, open_canary() as canary, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        policy = policy.model_copy(update={"extra_ports": (canary.port,)})
        authority, foreign = Authority(Path(folder) / "known"), Authority(Path(folder) / "foreign")
        trust = ssl.create_default_context(cafile=authority.ca_file)
        if unprotected:
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        cases = [
            *_list_plain(policy, canary.port),
            *_list_secure(authority.issue(NAME)),
            _Case("certificate of another name", OPEN, "https", authority.issue("other.example")),
            _Case("certificate of an unknown authority", OPEN, "https", foreign.issue(NAME)),
        ]
        chosen = [case for case in cases if not only or case.name in only]
        yield from pool.map(lambda case: _judge(case, policy, trust, canary), chosen)


def _make_policy(patience: float, *, unprotected: bool) -> UrlPolicy:
    usual = UrlPolicy()
    return UrlPolicy(
        allow_http=True,
        allowed_hosts=("127.0.0.1", "inner.example") if unprotected else (),
        connect_seconds=usual.connect_seconds * patience,
        first_byte_seconds=usual.first_byte_seconds * patience,
        idle_seconds=usual.idle_seconds * patience,
        min_bytes_per_second=0 if unprotected else usual.min_bytes_per_second,
        rate_seconds=usual.rate_seconds * patience,
        total_seconds=usual.total_seconds * patience,
    )


def _list_plain(policy: UrlPolicy, canary_port: int) -> list[_Case]:
    drip_bytes = b"x" * int(2 * policy.rate_seconds / DRIP_SECONDS)
    faults = PLAIN_FAULTS | {
        "drip of a byte at a time": drip(OK + LENGTH % len(drip_bytes), drip_bytes),
        "redirect to loopback": redirect(f"http://127.0.0.1:{canary_port}/"),
        "redirect to an inner name": redirect(f"http://inner.example:{canary_port}/"),
    }
    return [
        *(_Case(name, behave) for name, behave in faults.items()),
        *(_Case(name, behave, num_bytes=num_bytes) for name, (behave, num_bytes) in GOOD.items()),
    ]


def _list_secure(context: ssl.SSLContext) -> list[_Case]:
    return [
        *(_Case(name, behave, "https", context) for name, behave in SECURE_FAULTS.items()),
        *(_Case(name, behave, "https") for name, behave in HANDSHAKE_FAULTS.items()),
        *(_Case(f"{name} by TLS", behave, "https", context, num_bytes) for name, (behave, num_bytes) in GOOD.items()),
    ]


def _judge(case: _Case, policy: UrlPolicy, trust: ssl.SSLContext, canary: Canary) -> Verdict:
    expected: Literal["accept", "refuse"] = "refuse" if case.num_bytes is None else "accept"
    attempt = Attempt(GROUP, case.name, f"{case.scheme}://{NAME}/", expected, (BANNER, "127.0.0.1", str(canary.port)))
    with serve_fault(case.behaviour, case.server_context) as port:
        internet = Internet(NAMES, {ADDRESS: port})
        outcome, seconds, rss_mb = observe(attempt, policy, internet.as_network(trust))
    verdict = make_verdict(attempt, outcome, seconds=seconds, rss_mb=rss_mb)
    if internet.inner_addresses or outcome.num_bytes > MAX_BYTES:
        return replace(verdict, got="leak")
    if outcome.got == "accept" and case.num_bytes not in {None, outcome.num_bytes}:
        return replace(verdict, got="refuse", code="wrong_length")
    return verdict
