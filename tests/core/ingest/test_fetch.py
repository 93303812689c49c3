import threading

import pytest

from core.ingest.errors import FetchError, FetchInterruptedError, IngestStoppedError
from core.ingest.fetch import UrlPolicy, fetch, make_network
from tests.abuse.fault_server import serve_fault
from tests.abuse.server_faults import drip
from tests.core.ingest.servers import serve

LOOPBACK = UrlPolicy(allowed_hosts=("127.0.0.1",))
IMPATIENT = LOOPBACK.model_copy(update={"connect_seconds": 0.2, "first_byte_seconds": 0.2, "idle_seconds": 0.2})
NETWORK = make_network(LOOPBACK)
BODY = b"0123456789" * 1000
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n"


def _fetch(url: str, policy: UrlPolicy = LOOPBACK, *, max_bytes: int = 1_000_000) -> bytes:
    return b"".join(fetch(url, policy, max_bytes=max_bytes, should_stop=lambda: False, network=NETWORK))


def _fetch_refused(url: str, policy: UrlPolicy = LOOPBACK, *, max_bytes: int = 1_000_000) -> str:
    with pytest.raises(FetchError) as error:
        _fetch(url, policy, max_bytes=max_bytes)
    assert "127.0.0.1" not in error.value.message
    return error.value.code


def test_body_comes_as_it_is() -> None:
    with serve(OK, LENGTH % len(BODY), BODY) as server:
        assert _fetch(server.url) == BODY

    assert b"accept-encoding: identity" in server.requests[0].lower()


def test_chunked_and_unframed_bodies_come_whole() -> None:
    with serve(OK, b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n") as server:
        assert _fetch(server.url) == b"abc"
    with serve(b"HTTP/1.0 200 OK\r\n\r\n", BODY) as server:
        assert _fetch(server.url) == BODY


@pytest.mark.parametrize(
    "location",
    [
        b"http://169.254.169.254/latest",
        b"//127.0.0.2/",
        b"http://localhost/",
        b"file:///etc/passwd",
        b"gopher://example.com/",
    ],
)
@pytest.mark.parametrize("status", [b"301", b"302", b"303", b"307", b"308"])
def test_redirect_to_an_inner_address_is_refused(status: bytes, location: bytes) -> None:
    with serve(b"HTTP/1.1 " + status + b" Go\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n") as server:
        assert _fetch_refused(server.url) == "url_not_allowed"


def test_redirect_to_an_allowed_host_is_followed() -> None:
    with serve(OK, LENGTH % 3, b"abc") as target:
        go = b"HTTP/1.1 302 Go\r\nLocation: " + target.url.encode() + b"\r\nContent-Length: 0\r\n\r\n"
        with serve(go) as server:
            assert _fetch(server.url) == b"abc"


def test_endless_redirect_is_cut() -> None:
    with serve(b"HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") as server:
        assert _fetch_refused(server.url) == "url_redirect_refused"

    assert len(server.requests) == 4


def test_more_bytes_than_allowed_are_refused_before_they_come() -> None:
    with serve(OK, LENGTH % 1001, keep_open=True) as server:
        assert _fetch_refused(server.url, max_bytes=1000) == "url_too_large"


def test_never_ending_body_is_cut() -> None:
    with serve(OK, b"\r\n", *[BODY] * 1000) as server:
        assert _fetch_refused(server.url, max_bytes=len(BODY)) == "url_too_large"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(OK + LENGTH % 11 + b"short", "url_bad_response", id="fewer bytes than stated"),
        pytest.param(OK + LENGTH % -1, "url_bad_response", id="negative length"),
        pytest.param(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", "url_bad_response", id="two lengths"),
        pytest.param(OK + b"Content-Encoding: gzip\r\n" + LENGTH % 1 + b"x", "url_bad_response", id="compressed"),
        pytest.param(OK + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", "url_bad_response", id="huge header"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "url_bad_response", id="other protocol"),
        pytest.param(b"", "url_bad_response", id="no answer"),
        pytest.param(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", "url_bad_status", id="404"),
    ],
)
def test_bad_answer_is_refused(answer: bytes, code: str) -> None:
    with serve(answer) as server:
        assert _fetch_refused(server.url) == code


@pytest.mark.parametrize("answer", [b"", OK + b"X: drip", OK + LENGTH % 10 + b"half"])
def test_silent_server_is_left(answer: bytes) -> None:
    with serve(answer, keep_open=True) as server:
        assert _fetch_refused(server.url, IMPATIENT) == "url_timeout"


@pytest.mark.parametrize(
    ("answer", "is_over_soon"),
    [
        pytest.param(OK + LENGTH % 10 + b"half", True, id="broken off"),
        pytest.param(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", True, id="503"),
        pytest.param(b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n", True, id="429"),
        pytest.param(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", False, id="404"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", False, id="other protocol"),
    ],
)
def test_answer_that_may_be_better_later_is_an_interruption(answer: bytes, is_over_soon: bool) -> None:
    with serve(answer) as server, pytest.raises(FetchError) as error:
        _fetch(server.url)

    assert isinstance(error.value, FetchInterruptedError) == is_over_soon


def test_silence_is_an_interruption() -> None:
    with serve(b"", keep_open=True) as server, pytest.raises(FetchInterruptedError):
        _fetch(server.url, IMPATIENT)


def test_name_that_is_not_found_is_an_interruption() -> None:
    with pytest.raises(FetchInterruptedError):
        _fetch("https://does-not-exist.invalid/")


def test_server_that_takes_all_the_time_there_is_is_none() -> None:
    no_time = UrlPolicy(allowed_hosts=("127.0.0.1",), total_seconds=0)
    with serve(OK, LENGTH % 10, b"half", keep_open=True) as server, pytest.raises(FetchError) as error:
        _fetch(server.url, no_time)

    assert not isinstance(error.value, FetchInterruptedError)


def test_stop_ends_a_waiting_fetch() -> None:
    stop = threading.Event()
    with serve(OK, LENGTH % 10, b"half", keep_open=True) as server:
        chunks = fetch(server.url, LOOPBACK, max_bytes=100, should_stop=stop.is_set, network=NETWORK)
        assert next(chunks) == b"half"
        stop.set()
        with pytest.raises(IngestStoppedError):
            next(chunks)


def test_drip_that_is_never_idle_is_left() -> None:
    """A byte every 0.05 s for 2 s, where 1,000 bytes/s are due over 0.5 s."""
    policy = LOOPBACK.model_copy(update={"min_bytes_per_second": 1000, "rate_seconds": 0.5})
    with serve_fault(drip(OK + LENGTH % 40, b"x" * 40)) as port:
        assert _fetch_refused(f"http://127.0.0.1:{port}/", policy) == "url_timeout"


def test_slow_reader_is_not_held_against_the_server() -> None:
    policy = LOOPBACK.model_copy(update={"min_bytes_per_second": 10**6, "rate_seconds": 0.2})
    with serve(OK, LENGTH % 300_000, b"x" * 300_000) as server:
        received = 0
        for chunk in fetch(server.url, policy, max_bytes=10**6, should_stop=lambda: False, network=NETWORK):
            received += len(chunk)
            threading.Event().wait(0.25)  # longer than the window
            if received > 200_000:
                break

    assert received > 200_000


def test_chunks_of_a_byte_are_left() -> None:
    with serve(OK, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 100_000) as server:
        assert _fetch_refused(server.url) == "url_bad_response"
