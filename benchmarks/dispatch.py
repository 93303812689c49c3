"""How fast the engine hands out jobs: `python -m benchmarks.dispatch`.

Worker processes claim and end jobs whose trainer does nothing, in an empty table and in one full of finished jobs.
"""

import argparse
import json
import multiprocessing
from statistics import median, quantiles
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, text

from benchmarks.idle_worker import ONE_GPU, Shift, work_until_empty
from benchmarks.plans import explain
from benchmarks.rows import count_unfinished, fill
from benchmarks.stack import run_servers
from core.db.session import make_engine
from core.runs.eligibility import make_parameters, select_best

FLAT = 1.2
PROJECTS = 10
console = Console(stderr=True)


class Result(NamedTuple):
    workers: int
    finished_before: int
    claims_per_second: float
    claim_p50_ms: float
    claim_p99_ms: float
    database_ms_per_job: float
    pages_per_job: float  # that the database looked at: says the same on a busy machine


class Work(NamedTuple):
    """What the database has done since it started; a session adds its part when it ends."""

    milliseconds: float  # of planning, execution and commit
    pages: int


def main() -> None:
    options = _parse_options()
    with run_servers() as settings:
        url = settings.database_url.get_secret_value()
        engine = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("set statement_timeout = 0"))
            results = [
                _measure(connection, url, workers=workers, jobs=options.jobs, finished=finished)
                for workers in options.workers
                for finished in (0, options.finished)
            ]
            plan = _explain_claim(connection, jobs=options.jobs, finished=options.finished)
        engine.dispose()
    _report(results, plan)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--finished", type=int, default=100_000, help="jobs that the table holds already")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    return parser.parse_args()


def _measure(connection: Connection, url: str, *, workers: int, jobs: int, finished: int) -> Result:
    console.print(f"{jobs} jobs, {workers} workers, {finished} finished before …")
    fill(connection, projects=PROJECTS, queued=jobs, finished=finished)
    before = _read_work(connection)
    shifts = _run_workers(url, workers)
    after = _read_work(connection)
    left = count_unfinished(connection)
    assert left == 0, f"{left} jobs were left behind"
    work = Work(after.milliseconds - before.milliseconds, after.pages - before.pages)
    return _summarize(shifts, work, finished=finished)


def _run_workers(url: str, count: int) -> list[Shift]:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(count)
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    processes = [
        context.Process(target=work_until_empty, args=(url, f"worker_{number}", start, sender))
        for number, (_, sender) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    shifts: list[Shift] = [receiver.recv() for receiver, _ in pipes]
    for process in processes:
        process.join()
    return shifts


def _read_work(connection: Connection) -> Work:
    """What this session itself has done since its last report must not count as the workers'."""
    connection.execute(text("select pg_stat_force_next_flush()"))
    query = "select active_time, blks_hit + blks_read from pg_stat_database where datname = current_database()"
    row = connection.execute(text(query)).one()
    return Work(milliseconds=float(row[0]), pages=int(row[1]))


def _summarize(shifts: list[Shift], work: Work, *, finished: int) -> Result:
    seconds = [one for shift in shifts for one in shift.claim_seconds]
    elapsed = max(shift.ended_at for shift in shifts) - min(shift.began_at for shift in shifts)
    percentiles = quantiles(seconds, n=100)
    return Result(
        workers=len(shifts),
        finished_before=finished,
        claims_per_second=round(len(seconds) / elapsed, 1),
        claim_p50_ms=round(1000 * percentiles[49], 2),
        claim_p99_ms=round(1000 * percentiles[98], 2),
        database_ms_per_job=round(work.milliseconds / len(seconds), 2),
        pages_per_job=round(work.pages / len(seconds), 1),
    )


def _explain_claim(connection: Connection, *, jobs: int, finished: int) -> str:
    fill(connection, projects=PROJECTS, queued=jobs, finished=finished)
    parameters = make_parameters(queue="train", worker_id="worker", gpus=ONE_GPU)
    return explain(connection, select_best().params(parameters))


def _report(results: list[Result], plan: str) -> None:
    table = Table(*(name.replace("_", " ") for name in Result._fields))
    for result in results:
        table.add_row(*map(str, result))
    console.print(table)
    console.print(plan, highlight=False)
    assert "Seq Scan on runs" not in plan
    growth = {
        "database_ms_per_job": _find_growth([result.database_ms_per_job for result in results]),
        "pages_per_job": _find_growth([result.pages_per_job for result in results]),
    }
    console.print(f"growth by the finished jobs, median over the numbers of workers (flat is at most {FLAT}): {growth}")
    print(json.dumps({"results": [result._asdict() for result in results], "growth": growth}))


def _find_growth(values: list[float]) -> float:
    """Values come in pairs: without finished jobs, with them."""
    return round(median(full / empty for empty, full in zip(values[::2], values[1::2], strict=True)), 2)


if __name__ == "__main__":
    main()
