"""Abuse of uploads, against an API process of its own: refused early, and others are served meanwhile."""

import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection

import httpx

from core.settings import Settings
from tests.abuse.api_process import Api, start_api, start_servers
from tests.abuse.attempts import read_rss_mb
from tests.abuse.raw_clients import BLOCK, CHUNK, SEND_SECONDS, push, slow_crowd
from tests.abuse.verdict import Verdict

GROUP = "uploads"
GIBIBYTE = 1024**3
BUFFERED_BYTES = 4 * 1024**2  # at most, by both kernels, before the hanging up is noticed
MAX_BODY_BYTES = 9 * 1024**2  # the largest limit of the API, and the form's own bytes
REFUSED = frozenset({400, 401, 413, 415, 422, 431})
ROUNDS = 4
ATTACK_SECONDS = 60.0  # to begin, and to end
SETTLE_SECONDS = 2.0
SPAWN = multiprocessing.get_context("spawn")
JSON = "Content-Type: application/json\r\n"
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\nPK\x03\x04'


@dataclass(frozen=True)
class Push:
    """A body without end. `piece` is sent again and again after `head`."""

    name: str
    head: bytes
    piece: bytes
    until_bytes: int = GIBIBYTE
    allowed_bytes: int = MAX_BODY_BYTES


def run(
    *, settings: Settings | None = None, crowd_size: int = 200, samples: int = 400, rounds: int = ROUNDS
) -> Iterator[Verdict]:
    """Starts servers of its own where it is not given any."""
    with start_servers() if settings is None else nullcontext(settings) as known, start_api(known) as api:
        for abuse in list_pushes(api.secret):
            yield judge_push(abuse, api)
        yield _judge_others(api, crowd_size=crowd_size, samples=samples, rounds=rounds)


def list_pushes(secret: str) -> list[Push]:
    key = f"Authorization: Bearer {secret}\r\n"
    gibibyte = f"Content-Length: {GIBIBYTE}\r\n"
    form_chunk = b"%x\r\n" % len(FORM_HEAD) + FORM_HEAD + b"\r\n"
    return [
        Push("no key, 1 GiB to /datasets", _head("/datasets", FORM + gibibyte), BLOCK, allowed_bytes=0),
        Push("no key, 1 GiB to /predict", _head("/predict", JSON + gibibyte), BLOCK, allowed_bytes=0),
        Push("no key, chunks without end", _head("/datasets", FORM + CHUNKED), CHUNK, allowed_bytes=0),
        Push(
            "wrong key, 1 GiB",
            _head("/datasets", FORM + gibibyte + "Authorization: Bearer bt_x\r\n"),
            BLOCK,
            allowed_bytes=0,
        ),
        Push("1 GiB of JSON", _head("/jobs", key + JSON + gibibyte), BLOCK, allowed_bytes=0),
        Push("JSON chunks without end", _head("/jobs", key + JSON + CHUNKED), CHUNK),
        Push("form of 1 GiB", _head("/datasets", key + FORM + gibibyte), BLOCK, allowed_bytes=0),
        Push("form chunks without end", _head("/datasets", key + FORM + CHUNKED) + form_chunk, CHUNK),
        Push("form of fields without end", _head("/datasets", key + FORM + CHUNKED), _chunk(_make_fields())),
        Push("form header without end", _head("/datasets", key + FORM + CHUNKED) + _chunk(b"--b\r\nX: "), CHUNK),
        Push("form without its boundary", _head("/datasets", key + FORM + CHUNKED), CHUNK),
        Push("predict chunks without end", _head("/predict", key + JSON + CHUNKED), CHUNK),
        Push("predict form without end", _head("/predict", key + FORM + CHUNKED) + form_chunk, CHUNK),
        Push("headers without end", b"GET /jobs HTTP/1.1\r\nHost: a\r\n", b"X-A: b\r\n" * 8192),
        Push("request line without end", b"GET /", BLOCK),
        Push("chunk size without end", _head("/jobs", key + JSON + CHUNKED), b"0" * 65_536),
        Push("negative length", _head("/jobs", key + JSON + "Content-Length: -1\r\n"), BLOCK),
        Push("two lengths", _head("/jobs", key + JSON + "Content-Length: 5\r\nContent-Length: 6\r\n"), BLOCK),
    ]


def judge_push(abuse: Push, api: Api, seconds: float = SEND_SECONDS) -> Verdict:
    began_at, rss_before = time.monotonic(), read_rss_mb(api.pid)
    pushed = push(api.port, abuse.head, abuse.piece, until_bytes=abuse.until_bytes, seconds=seconds)
    is_refused = pushed.status in REFUSED and not pushed.is_held
    is_early = is_refused and pushed.sent_bytes <= abuse.allowed_bytes + BUFFERED_BYTES
    return Verdict(
        group=GROUP,
        name=abuse.name,
        expected="refuse",
        got="crash" if pushed.status >= 500 else "refuse" if is_early else "accept",
        code=f"{pushed.status} after {pushed.sent_bytes // 1024} KiB",
        seconds=round(time.monotonic() - began_at, 2),
        rss_mb=round(max(0.0, read_rss_mb(api.pid) - rss_before), 1),
    )


def _judge_others(api: Api, *, crowd_size: int, samples: int, rounds: int) -> Verdict:
    """The best of some rounds, each with its own quiet time: what else the machine does disturbs both."""
    began_at, rss_before = time.monotonic(), read_rss_mb(api.pid)
    ratio, quiet, disturbed = float("inf"), 0.0, 0.0
    with httpx.Client(
        base_url=api.url, headers={"Authorization": f"Bearer {api.secret}"}, trust_env=False, timeout=30
    ) as client:
        _measure(client, samples // 4)  # warms up
        for _ in range(rounds):
            quiet = _measure(client, samples)
            with _attack(api, crowd_size):
                disturbed = _measure(client, samples)
            ratio = min(ratio, disturbed / quiet)
            if ratio < 2.0:
                break
    return Verdict(
        group=GROUP,
        name=f"others beside {crowd_size} slow clients and two who push",
        expected="accept",
        got="accept" if ratio < 2.0 else "refuse",
        code=f"p99 {1000 * quiet:.1f} to {1000 * disturbed:.1f} ms, ratio {ratio:.2f}",
        seconds=round(time.monotonic() - began_at, 2),
        rss_mb=round(max(0.0, read_rss_mb(api.pid) - rss_before), 1),
    )


@contextmanager
def _attack(api: Api, crowd_size: int) -> Iterator[None]:
    """All at once, from a process of their own: what is timed here is the API, not the interpreter that attacks it."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_attack_until_told, args=(api, crowd_size, theirs), daemon=True)
    process.start()
    try:
        assert ours.poll(ATTACK_SECONDS), "the attack does not begin"
        ours.recv()
        time.sleep(SETTLE_SECONDS)  # the crowd has to arrive
        yield
        ours.send("stop")
        assert ours.poll(ATTACK_SECONDS), "the attack does not end"
        assert ours.recv() > 0, "nobody pushed"
    finally:
        process.kill()
        process.join()


def _attack_until_told(api: Api, crowd_size: int, commands: Connection) -> None:
    """Says when it has begun, and at the end how often somebody pushed."""
    key = f"Authorization: Bearer {api.secret}\r\n"
    heads = [
        b"",  # says nothing
        b"POST /datasets HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        _head("/datasets", key + FORM + CHUNKED) + b"%x\r\n" % GIBIBYTE + FORM_HEAD,
        _head("/predict", key + JSON + "Content-Length: 100000\r\n") + b"{",
        _head("/jobs", key + JSON + "Content-Length: 100000\r\n") + b"{",
    ]
    stopped = threading.Event()
    pushes = list_pushes(api.secret)
    with slow_crowd(api.port, heads, size=crowd_size, every_seconds=1.0), ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(_push_again, abuse, api, stopped) for abuse in (pushes[0], pushes[5])]
        commands.send("begun")
        commands.recv()
        stopped.set()
        commands.send(sum(future.result() for future in futures))


def _push_again(abuse: Push, api: Api, stopped: threading.Event) -> int:
    count = 0
    while not stopped.wait(0.2):
        push(api.port, abuse.head, abuse.piece, until_bytes=abuse.until_bytes)
        count += 1
    return count


def _measure(client: httpx.Client, samples: int) -> float:
    """The 99th percentile of seconds for an answer."""
    taken: list[float] = []
    for _ in range(samples):
        began_at = time.perf_counter()
        client.get("/datasets").raise_for_status()
        taken.append(time.perf_counter() - began_at)
    return statistics.quantiles(taken, n=100)[98]


def _head(path: str, headers: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n".encode()


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n" % len(content) + content + b"\r\n"


def _make_fields() -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 1000
