"""`python -m tests.chaos.outages --seconds 120`: each server away in turn, killed and hanging, while a job runs.

Requests have to be answered within 10 s, by what they asked for or by a 503 with `Retry-After`; the job has to end in
its first attempt, with the weights of an undisturbed run.
"""

import argparse
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx
from rich.console import Console
from rich.table import Table

from cli.postgres import Postgres
from cli.seaweed import Seaweed
from cli.valkey import Valkey
from core.states import TERMINAL
from tests.chaos.client import Client
from tests.chaos.history import End, History
from tests.chaos.load import VARIANTS, Load, make_archive
from tests.chaos.records import Records
from tests.chaos.stack import SLOTS, Stack, run_stack
from tests.conditions import wait_until
from tests.end_to_end.faults import find_descendants, hanging, signal_all

ANSWER_SECONDS = 10.0
RECOVERY_SECONDS = 60.0
JOB_SECONDS = 300.0
EPOCHS = 400  # a minute or so: the job ends its training while the server is away
ASK_SECONDS = 0.5
COLUMNS = (
    "server",
    "fault",
    "answers",
    "503",
    "other errors",
    "slowest (s)",
    "well again (s)",
    "attempts",
    "same weights",
)

Server = Postgres | Valkey | Seaweed


@dataclass
class Outcome:
    """One server away once: what its clients saw, and what became of the job."""

    server: str
    fault: str
    statuses: Counter[int] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    without_retry_after: int = 0
    recovered_seconds: float = 0.0
    attempts: int = 0
    is_same: bool = False

    @property
    def unavailable(self) -> int:
        return self.statuses[httpx.codes.SERVICE_UNAVAILABLE]

    @property
    def other_errors(self) -> int:
        """No answer at all counts as status 0."""
        return sum(count for status, count in self.statuses.items() if status not in {200, 202, 503})

    @property
    def is_good(self) -> bool:
        is_answered = self.slowest_seconds <= ANSWER_SECONDS and not self.other_errors + self.without_retry_after
        return is_answered and self.attempts == 1 and self.is_same


class Outages:
    def __init__(self, stack: Stack, load: Load, records: Records, *, seconds: float) -> None:
        self._stack = stack
        self._load = load
        self._records = records
        self._seconds = seconds
        self._reference: list[str] = []

    def run(self) -> Iterator[Outcome]:
        self._reference = self._wait_for_end(self._load.post("vanilla-0", epochs=EPOCHS)).weights_sha256
        servers = self._stack.servers
        named: tuple[tuple[str, Server], ...] = (
            ("PostgreSQL", servers.postgres),
            ("broker", servers.valkey),
            ("store", servers.seaweed),
        )
        for name, server in named:
            yield self._run_one(Outcome(name, "killed"), partial(killed, server))
            yield self._run_one(Outcome(name, "hangs"), partial(hanging, server.process))

    def _run_one(self, outcome: Outcome, away: Callable[[], AbstractContextManager[None]]) -> Outcome:
        job_id = self._load.post("vanilla-0", epochs=EPOCHS)
        wait_until(lambda: any(job.stage == "training" for job in self._records.list_running()), seconds=JOB_SECONDS)
        with away():
            self._ask_for(self._seconds, job_id, outcome)
        outcome.recovered_seconds = self._wait_until_well()
        end = self._wait_for_end(job_id)
        outcome.attempts = self._records.find_status(job_id)[1]
        outcome.is_same = end.weights_sha256 == self._reference
        return outcome

    def _ask_for(self, seconds: float, job_id: str, outcome: Outcome) -> None:
        """Several at once, as users do."""
        ended = threading.Event()
        paths = ["/livez", "/readyz", "/jobs", *(f"/jobs/{job_id}{part}" for part in ("", "/log", "/metrics"))]
        askers = [threading.Thread(target=self._keep_asking, args=(path, ended, outcome)) for path in paths]
        for asker in askers:
            asker.start()
        ended.wait(seconds)
        ended.set()
        for asker in askers:
            asker.join()

    def _keep_asking(self, path: str, ended: threading.Event, outcome: Outcome) -> None:
        with Client(self._stack.url, self._stack.key) as client:
            while not ended.wait(ASK_SECONDS):
                started = time.monotonic()
                answer = client.ask("GET", path)
                outcome.statuses[0 if answer is None else answer.status_code] += 1
                outcome.slowest_seconds = max(outcome.slowest_seconds, time.monotonic() - started)
                if answer is not None and answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    outcome.without_retry_after += "Retry-After" not in answer.headers

    def _wait_until_well(self) -> float:
        started = time.monotonic()
        with Client(self._stack.url, self._stack.key) as client:
            wait_until(client.is_all_well, seconds=RECOVERY_SECONDS)
        return time.monotonic() - started

    def _wait_for_end(self, job_id: str) -> End:
        wait_until(lambda: self._records.find_status(job_id)[0] in TERMINAL, seconds=JOB_SECONDS)
        return next(end for end in self._records.list_ends() if end.job_id == job_id)


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """Its ports are closed until the end of the block, where it is started again."""
    signal_all(find_descendants(server.process.pid), signal.SIGKILL)
    wait_until(lambda: not server.process.is_alive(), seconds=20)
    yield
    server.start()
    server.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long each server is away")
    seconds = parser.parse_args().seconds
    console = Console(width=130)
    table = Table(*COLUMNS)
    good = True
    with run_stack(None) as stack:
        history = History(seed=0, slots=SLOTS)
        records = Records(stack.make_engine())
        with Client(stack.url, stack.key) as client:
            dataset_id = client.import_dataset(make_archive())
        load = Load(stack, records, history, dataset_id, variants=len(VARIANTS))
        for outcome in Outages(stack, load, records, seconds=seconds).run():
            cells = _make_cells(outcome)
            console.print(f"{time.strftime('%H:%M:%S')} {' · '.join(cells)}", highlight=False)
            table.add_row(*cells)
            good = good and outcome.is_good
    console.print(table)
    return 0 if good else 1


def _make_cells(outcome: Outcome) -> list[str]:
    return [
        outcome.server,
        outcome.fault,
        str(outcome.statuses.total()),
        str(outcome.unavailable),
        str(outcome.other_errors),
        f"{outcome.slowest_seconds:.1f}",
        f"{outcome.recovered_seconds:.1f}",
        str(outcome.attempts),
        "yes" if outcome.is_same else "NO",
    ]


if __name__ == "__main__":
    sys.exit(main())
