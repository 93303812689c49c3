"""How fast a job can be polled: `python -m benchmarks.polling`.

Rounds against the real API and against a bare route with the same layers take turns; their ratio is what counts.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import NamedTuple

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.pollers import Poll, Round, run_round
from benchmarks.running_job import PolledJob, make_running_job
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
    """One round each, one after the other."""

    bare: Round
    real: Round


def main() -> None:
    options = _parse_options()
    with run_servers() as settings:
        job = make_running_job(settings)
        with _serve(BARE, settings, job) as bare, _serve(REAL, settings, job) as real:
            pairs = [_run_pair(bare, real, job, options) for _ in range(options.rounds + 1)]
    _report(pairs[1:])  # the first one warms up


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    return parser.parse_args()


@contextmanager
def _serve(app: str, settings: Settings, job: PolledJob) -> Iterator[str]:
    """The command line of `bitune serve`; only the app differs."""
    port = find_free_port(set())
    words = make_api_command(host=LOOPBACK, port=port, log_level="warning")
    command = [app if word == REAL else word for word in words]
    environment = {
        **os.environ,
        **make_environment(settings),
        "BITUNE_QUOTA_REQUESTS_PER_SECOND": COUNTED_BUT_NOT_LIMITED,
    }
    with (settings.home / f"{port}.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://{LOOPBACK}:{port}/jobs/{job.id}"
    try:
        _wait_for(url, job)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str, job: PolledJob) -> None:
    with httpx.Client(trust_env=False, headers={"Authorization": f"Bearer {job.secret}"}) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.get(url).raise_for_status()
                return
            except httpx.ConnectError:
                assert time.monotonic() < deadline, "the server does not start"
                time.sleep(0.1)


def _run_pair(bare: str, real: str, job: PolledJob, options: argparse.Namespace) -> Pair:
    """Each round in a process of its own."""
    polls = [Poll(url, job.secret, clients=options.clients, seconds=options.seconds) for url in (bare, real)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pair = Pair(*(pool.apply(run_round, (poll,)) for poll in polls))
    console.print(f"bare {pair.bare.requests_per_second:.0f}/s, real {pair.real.requests_per_second:.0f}/s")
    return pair


def _report(pairs: list[Pair]) -> None:
    ratio = median(pair.real.requests_per_second / pair.bare.requests_per_second for pair in pairs)
    rows = {"bare": [pair.bare for pair in pairs], "real": [pair.real for pair in pairs]}
    figures = {name: _summarize(rounds) for name, rounds in rows.items()}
    table = Table("route", "requests/s", "p50 ms", "p99 ms")
    for name, values in figures.items():
        table.add_row(name, *(str(value) for value in values.values()))
    console.print(table)
    console.print(f"ratio of requests/s, median of {len(pairs)} pairs: {ratio:.2f} (wanted: at least {WANTED_RATIO})")
    print(json.dumps({**figures, "ratio": round(ratio, 3)}))


def _summarize(rounds: list[Round]) -> dict[str, float]:
    percentiles = quantiles([seconds for one in rounds for seconds in one.latencies], n=100)
    return {
        "requests_per_second": round(median(one.requests_per_second for one in rounds), 1),
        "p50_ms": round(1000 * percentiles[49], 1),
        "p99_ms": round(1000 * percentiles[98], 1),
    }


if __name__ == "__main__":
    main()
