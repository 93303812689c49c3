"""Addresses and spellings that lead inside, by every way in; a canary on all addresses of this host hears nothing."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from core.ingest.url_policy import OwnServer, UrlPolicy
from tests.abuse.address_book import (
    ADDRESSES,
    GROUP,
    LOCAL_NAMES,
    METADATA,
    NAMES,
    PLAIN_ADDRESS,
    SECURE,
    SECURE_ADDRESS,
    SPELLINGS,
    list_accepted,
    list_refused,
)
from tests.abuse.attempts import Attempt, make_verdict, observe
from tests.abuse.canary import Canary, open_canary
from tests.abuse.certificates import Authority
from tests.abuse.fault_server import Exchange, serve_fault
from tests.abuse.internet import Internet
from tests.abuse.verdict import Verdict

BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\npublic"
REDIRECT = "HTTP/1.1 {status} Go\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def run(
    *, connect_seconds: float = 1.0, unprotected: bool = False, only: frozenset[str] = frozenset()
) -> Iterator[Verdict]:
    """`unprotected` lists every inner host, as an operator could: the control, in which the canary hears."""
    with tempfile.TemporaryDirectory() as folder, open_canary() as canary, _serve_web(Path(folder)) as web:
        policy = UrlPolicy(
            allow_http=True,  # so that it is the address that is refused, neither the scheme nor the port
            extra_ports=(canary.port,),
            allowed_hosts=_list_inner_hosts() if unprotected else (),
            connect_seconds=connect_seconds,
        )
        suite = _Suite(canary, web)
        for attempt in (*list_refused(canary.port), *list_accepted(canary.port)):
            if not only or attempt.name in only:
                yield suite.judge(attempt, policy)
        yield from suite.judge_own_servers(policy, unprotected=unprotected)


class _Web:
    """Two servers behind public addresses, and a client's trust in them."""

    def __init__(self, servers: dict[str, int], ssl_context: ssl.SSLContext) -> None:
        self.servers = servers
        self.ssl_context = ssl_context


class _Suite:
    def __init__(self, canary: Canary, web: _Web) -> None:
        self._canary = canary
        self._web = web

    def judge(self, attempt: Attempt, policy: UrlPolicy) -> Verdict:
        internet = Internet(NAMES, self._web.servers)
        heard_before = len(self._canary.heard)
        outcome, seconds, rss_mb = observe(attempt, policy, internet.as_network(self._web.ssl_context))
        verdict = make_verdict(attempt, outcome, seconds=seconds, rss_mb=rss_mb)
        if internet.inner_addresses or len(self._canary.heard) > heard_before:
            return replace(verdict, got="leak")
        return verdict

    def judge_own_servers(self, policy: UrlPolicy, *, unprotected: bool) -> Iterator[Verdict]:
        """A listed host is private by right, and yet nobody reaches the database on it by any of its names."""
        port = self._canary.port
        own = OwnServer(host="127.0.0.1", port=port)
        listed = policy.model_copy(
            update={"allowed_hosts": _list_inner_hosts(), "own_servers": () if unprotected else (own,)}
        )
        for host in ("127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0", "[::ffff:127.0.0.1]", "inner.example"):  # noqa: S104
            yield self.judge(Attempt(GROUP, f"own server as {host}", f"http://{host}:{port}/"), listed)
        public = policy.model_copy(update={"own_servers": (OwnServer(host="database.example", port=5432),)})
        yield self.judge(Attempt(GROUP, "own server's public address", f"http://www.example:{port}/"), public)


@contextmanager
def _serve_web(folder: Path) -> Iterator[_Web]:
    authority = Authority(folder)
    context = ssl.create_default_context(cafile=authority.ca_file)
    with serve_fault(_answer) as plain, serve_fault(_answer, authority.issue(SECURE)) as secure:
        yield _Web({PLAIN_ADDRESS: plain, SECURE_ADDRESS: secure}, context)


def _answer(exchange: Exchange) -> None:
    target = exchange.read_request().decode("latin-1").split(" ")[1]
    asked = parse_qs(urlsplit(target).query)
    if asked:
        exchange.send(REDIRECT.format(status=asked["status"][0], to=asked["to"][0]).encode())
    else:
        exchange.send(BODY)


def _list_inner_hosts() -> tuple[str, ...]:
    metadata = urlsplit(METADATA).hostname or ""
    inner = tuple(name for name in NAMES if name.startswith("inner"))
    return (*ADDRESSES, *SPELLINGS, *LOCAL_NAMES, *inner, metadata, "127.0.0.2", "half-inner.example")
