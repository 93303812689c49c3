"""Fetches under observation: time, memory, what was dialled, and whether the error tells too much."""

import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.ingest.connections import Network
from core.ingest.errors import FetchError
from core.ingest.fetch import fetch
from core.ingest.url_policy import UrlPolicy
from tests.abuse.verdict import Verdict

MEBIBYTE = 1024**2
MAX_BYTES = 32 * MEBIBYTE
SAMPLE_SECONDS = 0.02
Got = Literal["accept", "refuse", "crash", "leak"]


@dataclass(frozen=True)
class Attempt:
    """`secrets` are what no error may contain."""

    group: str
    name: str
    url: str
    expected: Literal["accept", "refuse"] = "refuse"
    secrets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    got: Got
    code: str
    num_bytes: int = 0


def observe(attempt: Attempt, policy: UrlPolicy, network: Network) -> tuple[Outcome, float, float]:
    """The outcome, seconds, and by how many MB the memory grew at most."""
    with ThreadPoolExecutor(1) as pool:
        began_at, before = time.monotonic(), read_rss_mb()
        future = pool.submit(_fetch, attempt, policy, network)
        peak = before
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        while not done.wait(SAMPLE_SECONDS):
            peak = max(peak, read_rss_mb())
        seconds = time.monotonic() - began_at
    crash = future.exception()
    outcome = future.result() if crash is None else Outcome("crash", type(crash).__name__)
    return outcome, seconds, peak - before


def make_verdict(attempt: Attempt, outcome: Outcome, *, seconds: float, rss_mb: float) -> Verdict:
    return Verdict(
        group=attempt.group,
        name=attempt.name,
        expected=attempt.expected,
        got=outcome.got,
        code=outcome.code,
        seconds=round(seconds, 2),
        rss_mb=round(rss_mb, 1),
    )


def _fetch(attempt: Attempt, policy: UrlPolicy, network: Network) -> Outcome:
    num_bytes = 0
    try:
        for chunk in fetch(attempt.url, policy, max_bytes=MAX_BYTES, should_stop=lambda: False, network=network):
            num_bytes += len(chunk)
    except FetchError as error:
        told = f"{error.code} {error.message} {error.hint}"
        got: Got = "leak" if any(secret in told for secret in attempt.secrets) else "refuse"
        return Outcome(got, error.code, num_bytes)
    return Outcome("accept", "", num_bytes)


def read_rss_mb(pid: int | str = "self") -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEBIBYTE
