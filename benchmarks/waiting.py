"""What clients that wait cost the others: `python -m benchmarks.waiting`.

Rounds of ordinary polls at one API process, without and with a crowd of event streams and long polls at it, take turns;
meanwhile one job after the other writes an event. Exits 1 when the crowd doubles the p99 of the others, or when a
stream ends, misses an event or tells one twice.
"""

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from statistics import median, quantiles
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.crowd import Crowd, Waited, waiting
from benchmarks.pollers import Poll, Round, run_round_apart
from benchmarks.running_job import RunningJobs, make_running_jobs
from benchmarks.stack import run_servers, serve_api
from core.db.session import make_engine, make_session_factory
from core.runs import claims
from core.settings import Settings

MOST_RATIO = 2.0
COUNTED_BUT_NOT_LIMITED = 1_000_000
console = Console(stderr=True)


class Pair(NamedTuple):
    """One round each, one right after the other."""

    alone: Round
    beside: Round
    waited: Waited


def main() -> int:
    options = _parse_options()
    with run_servers() as servers:
        settings = servers.model_copy(update={"quota_requests_per_second": COUNTED_BUT_NOT_LIMITED})
        running = make_running_jobs(settings, options.jobs)
        with serve_api(settings) as (_, url), _writing(settings, running, every_seconds=options.event_seconds):
            pairs = [_run_pair(url, running, options) for _ in range(options.rounds + 1)]
    return _report(pairs[1:], options)  # the first one warms up


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--long-polls", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=50, help="that the crowd waits for")
    parser.add_argument("--event-seconds", type=float, default=1.0, help="between two events, of the jobs in turn")
    parser.add_argument("--clients", type=int, default=4, help="whose requests are timed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round")
    return parser.parse_args()


@contextmanager
def _writing(settings: Settings, running: RunningJobs, *, every_seconds: float) -> Iterator[None]:
    """Events beside the block, from a process that is not the API's."""
    stopped = threading.Event()
    engine = make_engine(settings.database_url.get_secret_value())
    sessions = make_session_factory(engine)

    def write() -> None:
        for job in cycle(running.jobs):
            if stopped.wait(every_seconds):
                return
            with sessions.begin() as session:
                claims.note(session, job.held, "note", "something happened")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
        engine.dispose()


def _run_pair(url: str, running: RunningJobs, options: argparse.Namespace) -> Pair:
    job_ids = [job.id for job in running.jobs]
    crowd = Crowd(url, running.secret, job_ids, streams=options.streams, long_polls=options.long_polls)
    poll = Poll(f"{url}/jobs/{job_ids[0]}", running.secret, clients=options.clients, seconds=options.seconds)
    alone = run_round_apart(poll)
    with waiting(crowd) as told:
        beside = run_round_apart(poll)
    console.print(f"p99 alone {_find_p99_ms(alone):.1f} ms, beside the crowd {_find_p99_ms(beside):.1f} ms; {told[0]}")
    return Pair(alone, beside, told[0])


def _report(pairs: list[Pair], options: argparse.Namespace) -> int:
    ratio = median(_find_p99_ms(pair.beside) / _find_p99_ms(pair.alone) for pair in pairs)
    table = Table("others", "requests/s", "p99 ms")
    rows = {"alone": [pair.alone for pair in pairs], "beside the crowd": [pair.beside for pair in pairs]}
    figures = {
        name: {
            "requests_per_second": round(median(one.requests_per_second for one in rounds), 1),
            "p99_ms": round(median(map(_find_p99_ms, rounds)), 1),
        }
        for name, rounds in rows.items()
    }
    for name, values in figures.items():
        table.add_row(name, *map(str, values.values()))
    console.print(table)
    lost = sum(options.streams - pair.waited.open_streams + pair.waited.gaps for pair in pairs)
    console.print(f"ratio of p99, median of {len(pairs)} pairs: {ratio:.2f} (wanted: below {MOST_RATIO}); lost: {lost}")
    print(json.dumps({**figures, "ratio": round(ratio, 3), "lost": lost}))
    return 0 if ratio < MOST_RATIO and lost == 0 else 1


def _find_p99_ms(one: Round) -> float:
    return 1000 * quantiles(one.latencies, n=100)[98]


if __name__ == "__main__":
    sys.exit(main())
