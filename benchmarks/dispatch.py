"""How fast the engine hands out jobs: `python -m benchmarks.dispatch`.

Worker processes claim and end jobs whose trainer does nothing, in turn in a table without finished jobs and in one full
of them. Exits 1 when the finished jobs cost the database more than 20 % of computing time, or when a claim reads more
than a few rows a project.
"""

import argparse
import json
import multiprocessing
import sys
import time
from statistics import median, quantiles

from rich.console import Console
from sqlalchemy import Connection, text

from benchmarks.dispatch_results import FLAT, JUDGED, Result, find_growth, find_medians, make_table
from benchmarks.idle_worker import ONE_GPU, Shift, work_until_empty
from benchmarks.plans import Execution, execute_explained, explain
from benchmarks.rows import count_unfinished, fill
from benchmarks.stack import run_servers
from core.db.session import make_engine
from core.runs.eligibility import make_parameters, select_best

PROJECTS = 10
MOST_ROWS = 3 * PROJECTS  # of thousands in the queue: no group is sorted, no table read
INDEX = "ix_runs_queued"
EXPLAINED = 50
CLAIM = select_best().params(make_parameters(queue="train", worker_id="worker", gpus=ONE_GPU))
console = Console(stderr=True, width=160)


def main() -> int:
    options = _parse_options()
    with run_servers() as settings:
        url = settings.database_url.get_secret_value()
        engine = make_engine(url).execution_options(isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("set statement_timeout = 0"))
            _measure(connection, url, workers=1, jobs=options.jobs // 10, finished=0)  # warms up
            results = [
                _measure(connection, url, workers=workers, jobs=options.jobs, finished=finished)
                for workers in options.workers
                for finished in _list_arms(options.finished, options.rounds)
            ]
            fill(connection, projects=PROJECTS, queued=options.jobs, finished=options.finished)
            plan = explain(connection, CLAIM)
        engine.dispose()
    return _report(results, plan)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dispatch", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--finished", type=int, default=100_000, help="jobs that the table holds already")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--rounds", type=int, default=2, help="of each pair, in alternating order")
    return parser.parse_args()


def _list_arms(finished: int, rounds: int) -> list[int]:
    """None, all, all, none …: what changes steadily on the machine hits both alike."""
    return [count for number in range(rounds) for count in ((0, finished) if number % 2 == 0 else (finished, 0))]


def _measure(connection: Connection, url: str, *, workers: int, jobs: int, finished: int) -> Result:
    console.print(f"{jobs} jobs, {workers} workers, {finished} finished before …")
    fill(connection, projects=PROJECTS, queued=jobs, finished=finished)
    executions = [execute_explained(connection, CLAIM) for _ in range(EXPLAINED)]
    before = _read_active_milliseconds(connection)
    shifts = _run_workers(url, workers)
    _wait_until_alone(connection)
    worked = _read_active_milliseconds(connection) - before
    left = count_unfinished(connection)
    assert left == 0, f"{left} jobs were left behind"
    return _summarize(shifts, executions, worked_milliseconds=worked, finished=finished)


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


def _wait_until_alone(connection: Connection) -> None:
    """A session adds what it did when it ends."""
    others = text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 10
    while connection.execute(others).scalar_one():
        assert time.monotonic() < deadline, "a worker's session does not end"
        time.sleep(0.05)  # between two looks at the sessions


def _read_active_milliseconds(connection: Connection) -> float:
    """What sessions took for planning, execution and commit; what this one has done so far is in it."""
    connection.execute(text("select pg_stat_force_next_flush()"))
    query = text("select active_time from pg_stat_database where datname = current_database()")
    return float(connection.execute(query).scalar_one())


def _summarize(
    shifts: list[Shift], executions: list[Execution], *, worked_milliseconds: float, finished: int
) -> Result:
    seconds = [one for shift in shifts for one in shift.claim_seconds]
    elapsed = max(shift.ended_at for shift in shifts) - min(shift.began_at for shift in shifts)
    percentiles = quantiles(seconds, n=100)
    return Result(
        workers=len(shifts),
        finished_before=finished,
        claims_per_second=round(len(seconds) / elapsed, 1),
        claim_p50_ms=round(1000 * percentiles[49], 2),
        claim_p99_ms=round(1000 * percentiles[98], 2),
        database_ms_per_job=round(worked_milliseconds / len(seconds), 2),
        database_cpu_ms_per_job=round(1000 * sum(shift.database_cpu_seconds for shift in shifts) / len(seconds), 3),
        query_ms=round(median(one.milliseconds for one in executions), 3),
        query_pages=median(one.pages for one in executions),
        query_most_rows=max(one.most_rows for one in executions),
    )


def _report(results: list[Result], plan: str) -> int:
    growth = find_growth(results)
    console.print(plan, highlight=False, soft_wrap=True)
    console.print(make_table(find_medians(results)))
    console.print("times as slow with the finished jobs, median of all pairs:")
    for name, factor in growth.items():
        console.print(f"  {name}: {factor}" + (f" (flat is at most {FLAT})" if name in JUDGED else ""))
    print(json.dumps({"results": [result._asdict() for result in results], "growth": growth}))
    complaints = _find_complaints(results, growth, plan)
    for complaint in complaints:
        console.print(complaint, style="red")
    return 1 if complaints else 0


def _find_complaints(results: list[Result], growth: dict[str, float], plan: str) -> list[str]:
    complaints = [f"not flat: {name} is {growth[name]} times as much" for name in sorted(JUDGED) if growth[name] > FLAT]
    most_rows = max(result.query_most_rows for result in results)
    if most_rows > MOST_ROWS:
        complaints.append(f"a claim reads {most_rows} rows in one step, more than {MOST_ROWS}")
    if INDEX not in plan or "Seq Scan on runs" in plan:
        complaints.append(f"the plan does not walk {INDEX}, or reads the whole table")
    return complaints


if __name__ == "__main__":
    sys.exit(main())
