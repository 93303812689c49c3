"""Fetches what a stranger's URL names, and nothing from inside: see docs/datasets.md."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urljoin

import httpcore

from core.ingest.connections import GuardedBackend, Network, make_network
from core.ingest.errors import FetchError, FetchInterruptedError
from core.ingest.url_policy import UrlPolicy
from core.ingest.urls import ParsedUrl, parse_url
from core.ingest.watch import Watch

__all__ = ["Network", "UrlPolicy", "fetch", "make_network"]

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = [("Accept", "*/*"), ("Accept-Encoding", "identity"), ("User-Agent", "bitune")]


def fetch(
    url: str, policy: UrlPolicy, *, max_bytes: int, should_stop: Callable[[], bool], network: Network | None = None
) -> Iterator[bytes]:
    """The body in pieces. Raises FetchError, also after some pieces; IngestStoppedError when asked to stop."""
    watch = Watch(policy, should_stop)
    parsed = parse_url(url, policy)
    network = network or make_network(policy)
    backend = GuardedBackend(policy, watch, network)
    with httpcore.ConnectionPool(ssl_context=network.ssl_context, network_backend=backend) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            with _translated(), _request(pool, parsed, policy, watch) as response:
                if response.status not in REDIRECTS:
                    yield from _read_body(response, max_bytes, watch)
                    return
                parsed = _follow(parsed, response, policy)
    raise FetchError("url_redirect_refused", f"the URL redirects more than {MAX_REDIRECTS} times")


@contextmanager
def _request(
    pool: httpcore.ConnectionPool, url: ParsedUrl, policy: UrlPolicy, watch: Watch
) -> Iterator[httpcore.Response]:
    timeouts = {"connect": policy.connect_seconds, "write": policy.connect_seconds, "read": policy.idle_seconds}
    target = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
    headers = [("Host", url.authority), *HEADERS]
    with pool.stream("GET", target, headers=headers, extensions={"timeout": timeouts}) as response:
        watch.answered()
        yield response


def _follow(url: ParsedUrl, response: httpcore.Response, policy: UrlPolicy) -> ParsedUrl:
    location = _get_header(response, b"location")
    target = parse_url(urljoin(url.text, location), policy)
    if url.scheme == "https" and target.scheme == "http":
        raise FetchError("url_redirect_refused", "the URL redirects from https to http")
    return target


def _read_body(response: httpcore.Response, max_bytes: int, watch: Watch) -> Iterator[bytes]:
    _check_headers(response, max_bytes)
    received = 0
    for chunk in _break_off_as_interruption(response.iter_stream()):
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        watch.count_body(len(chunk))
        given_at = time.monotonic()
        yield chunk
        watch.excuse(time.monotonic() - given_at)


def _break_off_as_interruption(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Who has sent good headers can send the rest as well."""
    try:
        yield from chunks
    except httpcore.RemoteProtocolError as exc:
        raise FetchInterruptedError("url_bad_response", "the server breaks off its answer", hint="try again") from exc


def _check_headers(response: httpcore.Response, max_bytes: int) -> None:
    if response.status == 429 or response.status >= 500:
        raise FetchInterruptedError("url_bad_status", f"the server answers {response.status}", hint="try again later")
    if response.status != 200:
        raise FetchError("url_bad_status", f"the server answers {response.status}", hint="open the URL in a browser")
    if any(value.lower() != "identity" for value in _list_values(response, b"content-encoding")):
        raise FetchError("url_bad_response", "the server compresses what it was asked to send as it is")
    length = _get_header(response, b"content-length")
    if length.isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)


def _get_header(response: httpcore.Response, name: bytes) -> str:
    return next(iter(_list_values(response, name)), "")


def _list_values(response: httpcore.Response, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for key, value in response.headers if key.lower() == name]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpcore.TimeoutException as exc:
        raise FetchInterruptedError(
            "url_timeout", "the server is too slow", hint="try again, or upload the file"
        ) from exc
    except (httpcore.NetworkError, httpcore.UnsupportedProtocol) as exc:
        raise FetchInterruptedError(
            "url_unreachable", "the server cannot be reached, or broke off", hint="try again"
        ) from exc
    except httpcore.ProtocolError as exc:
        raise FetchError("url_bad_response", "the server sends no valid or no whole answer", hint="try again") from exc


def _too_large(max_bytes: int) -> FetchError:
    return FetchError("url_too_large", f"the URL has more than {max_bytes} bytes")
