"""How fast a job can be polled: `python -m benchmarks.polling`.

Rounds against the real API and against a bare route with the same layers take turns; their ratio is what counts.
Exits 1 when the ratio of requests per second, or that of the p99s, is below 0.4.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Any, NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.pollers import Poll, Round, run_round_apart
from benchmarks.running_job import RunningJobs, make_running_jobs
from benchmarks.stack import run_servers
from cli.commands import make_api_command
from cli.environment import make_environment
from cli.ports import LOOPBACK, find_free_port
from core.settings import Settings

REAL = "api.main:create_app"
BARE = "benchmarks.bare_app:create_app"
WANTED_RATIO = 0.4
COUNTED_BUT_NOT_LIMITED = "1000000"
console = Console(stderr=True)


class Pair(NamedTuple):
    """One round each, one right after the other."""

    bare: Round
    real: Round


def main() -> int:
    options = _parse_options()
    with run_servers() as settings:
        polled = make_running_jobs(settings)
        with _serve(BARE, settings, polled) as bare, _serve(REAL, settings, polled) as real:
            pairs = [
                _run_pair(bare, real, polled.secret, options, real_first=number % 2 == 1)
                for number in range(options.rounds + 1)
            ]
    return _report(pairs[1:])  # the first one warms up


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    return parser.parse_args()


@contextmanager
def _serve(app: str, settings: Settings, polled: RunningJobs) -> Iterator[str]:
    """The command line of `bitune serve`; only the app differs."""
    port = find_free_port(set())
    command = make_api_command(host=LOOPBACK, port=port, log_level="warning")
    command[command.index(REAL)] = app
    environment = {
        **os.environ,
        **make_environment(settings),
        "BITUNE_QUOTA_REQUESTS_PER_SECOND": COUNTED_BUT_NOT_LIMITED,
    }
    with (settings.home / f"{port}.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://{LOOPBACK}:{port}/jobs/{polled.jobs[0].id}"
    try:
        answer = _wait_for(url, polled.secret)
        assert ("spec" in answer) == (app == REAL), f"{app} is not what answers"
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, secret: str) -> dict[str, Any]:  # JSON
    """Gives the first answer."""
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {secret}"}) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                answer: dict[str, Any] = client.get(url).raise_for_status().json()
                return answer
            except httpx.ConnectError:
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.1)


def _run_pair(bare: str, real: str, secret: str, options: argparse.Namespace, *, real_first: bool) -> Pair:
    urls = (real, bare) if real_first else (bare, real)
    rounds = {url: run_round_apart(Poll(url, secret, clients=options.clients, seconds=options.seconds)) for url in urls}
    pair = Pair(bare=rounds[bare], real=rounds[real])
    console.print(f"bare {pair.bare.requests_per_second:.0f}/s, real {pair.real.requests_per_second:.0f}/s")
    return pair


def _report(pairs: list[Pair]) -> int:
    rows = {"bare": [pair.bare for pair in pairs], "real": [pair.real for pair in pairs]}
    figures = {name: _summarize(rounds) for name, rounds in rows.items()}
    ratios = {
        "requests/s": median(pair.real.requests_per_second / pair.bare.requests_per_second for pair in pairs),
        "p99": median(_find_p99(pair.bare) / _find_p99(pair.real) for pair in pairs),
    }
    table = Table("route", "requests/s", "p50 ms", "p99 ms")
    for name, values in figures.items():
        table.add_row(name, *(str(value) for value in values.values()))
    console.print(table)
    for name, ratio in ratios.items():
        console.print(f"ratio of {name}, median of {len(pairs)} pairs: {ratio:.2f} (wanted: at least {WANTED_RATIO})")
    print(json.dumps({**figures, "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()}}))
    return 0 if min(ratios.values()) >= WANTED_RATIO else 1


def _find_p99(one: Round) -> float:
    return quantiles(one.latencies, n=100)[98]


def _summarize(rounds: list[Round]) -> dict[str, float]:
    percentiles = quantiles([seconds for one in rounds for seconds in one.latencies], n=100)
    return {
        "requests_per_second": round(median(one.requests_per_second for one in rounds), 1),
        "p50_ms": round(1000 * percentiles[49], 1),
        "p99_ms": round(1000 * percentiles[98], 1),
    }


if __name__ == "__main__":
    sys.exit(main())
