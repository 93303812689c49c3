"""How long `/metrics` takes to count and render: `python -m benchmarks.scrape`."""

import argparse
import time
from statistics import median

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from api.engine_metrics import render_metrics
from benchmarks.rows import fill
from benchmarks.stack import run_servers
from core.db.session import make_engine
from core.engine_state import read_engine_state

PROJECTS = 10


def main() -> None:
    options = _parse_options()
    with run_servers() as settings:
        engine = make_engine(settings.database_url.get_secret_value())
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("set statement_timeout = 0")
            fill(connection, projects=PROJECTS, queued=options.queued, finished=options.finished)
            seconds = [_scrape(connection) for _ in range(options.scrapes)]
        engine.dispose()
    print(
        f"{options.queued} queued and {options.finished} finished jobs: {1000 * median(seconds):.0f} ms a scrape,"
        f" {1000 * max(seconds):.0f} ms the slowest of {options.scrapes}"
    )


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scrape", description=__doc__)
    parser.add_argument("--queued", type=int, default=1_000)
    parser.add_argument("--finished", type=int, default=100_000)
    parser.add_argument("--scrapes", type=int, default=50)
    return parser.parse_args()


def _scrape(connection: Connection) -> float:
    started = time.perf_counter()
    with Session(connection) as session:
        render_metrics(read_engine_state(session), storage_errors=0)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
