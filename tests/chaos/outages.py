"""`python -m tests.chaos.outages --seconds 120`: each server away in turn, killed and hanging, while users go on.

Every request has to be answered within 10 s: by what it asked for where that needs only servers that are there, else by
a 503 with `Retry-After`. Every job has to end in its first attempt with the weights of an undisturbed run, and every
upload that was accepted as a dataset; a job whose cancel was accepted is cancelled.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, assert_never, get_args

import httpx
from rich.console import Console
from rich.table import Table

from cli.demo.cells import draw_cells
from cli.postgres import Postgres
from cli.seaweed import Seaweed
from cli.valkey import Valkey
from core.states import TERMINAL
from tests.chaos.background import running_beside
from tests.chaos.client import Client
from tests.chaos.load import POLL_SECONDS, make_archive
from tests.chaos.outage_report import COLUMNS, Outcome, make_cells
from tests.chaos.outage_requests import (
    SHORT_EPOCHS,
    Asker,
    ServerName,
    Subjects,
    list_questions,
    make_predict,
    make_spec,
)
from tests.chaos.records import Records
from tests.chaos.stack import Stack, run_stack
from tests.conditions import wait_until
from tests.end_to_end.faults import find_descendants, hanging, signal_all

RECOVERY_SECONDS = 60.0
JOB_SECONDS = 300.0
LONG_EPOCHS = 400  # a minute or so: the job ends its training while the server is away
SERVER_NAMES: tuple[ServerName, ...] = get_args(ServerName)
Server = Postgres | Valkey | Seaweed


class Fate(NamedTuple):
    """How a job ended, or stands when it does not end."""

    status: str
    weights_sha256: tuple[str, ...]  # of its models


CANCELLED = Fate("cancelled", ())


class Baseline(NamedTuple):
    """What there is before anything is disturbed, and how jobs end then."""

    dataset_id: str
    archive: bytes
    picture: bytes
    model_id: str  # a finished job's, as `/predict` takes it
    long: Fate
    short: Fate


class Outages:
    def __init__(self, stack: Stack, client: Client, *, seconds: float) -> None:
        self._stack = stack
        self._client = client
        self._seconds = seconds
        self._records = Records(stack.make_engine())
        self._settled: set[str] = set()  # jobs of earlier outages

    def run(self, names: list[ServerName]) -> Iterator[Outcome]:
        baseline = self._prepare()
        for name in names:
            server = self._find_server(name)
            yield self._run_one(Outcome(name, "killed"), partial(killed, server), baseline)
            yield self._run_one(Outcome(name, "hangs"), partial(hanging, server.process), baseline)

    def _prepare(self) -> Baseline:
        """Fails when a job does that nothing disturbs: there would be nothing to compare with."""
        archive = make_archive()
        dataset_id = self._client.import_dataset(archive)
        long_id, short_id = (self._post(dataset_id, epochs=epochs) for epochs in (LONG_EPOCHS, SHORT_EPOCHS))
        fates = self._settle()
        for fate in fates.values():
            assert fate.status == "succeeded", fate
            assert len(fate.weights_sha256) == 1, fate
        ((cell,),) = draw_cells(1, seed=0)
        return Baseline(dataset_id, archive, cell.path.read_bytes(), long_id, fates[long_id], fates[short_id])

    def _find_server(self, name: ServerName) -> Server:
        servers = self._stack.servers
        match name:
            case "PostgreSQL":
                return servers.postgres
            case "broker":
                return servers.valkey
            case "store":
                return servers.seaweed
            case _:
                assert_never(name)

    def _run_one(
        self, outcome: Outcome, away: Callable[[], AbstractContextManager[None]], baseline: Baseline
    ) -> Outcome:
        subjects = self._start_jobs(baseline)
        with away():
            outcome.askers = self._ask_together(subjects)
        outcome.recovered_seconds = self._wait_until_well()
        self._follow_jobs(outcome, subjects, baseline)
        self._follow_uploads(outcome)
        return outcome

    def _start_jobs(self, baseline: Baseline) -> Subjects:
        """Two in the midst of their training: one to end, one to be cancelled."""
        dataset_id = baseline.dataset_id
        job_id, unwanted_id = (self._post(dataset_id, epochs=LONG_EPOCHS) for _ in range(2))
        subjects = Subjects(dataset_id, baseline.model_id, job_id, unwanted_id, baseline.archive, baseline.picture)
        wait_until(lambda: self._are_training({job_id, unwanted_id}), seconds=JOB_SECONDS)
        wait_until(lambda: self._shows_segments(job_id), seconds=JOB_SECONDS)
        predict = make_predict(subjects)
        assert self._client.insist(predict.method, predict.path, **predict.options).status_code == httpx.codes.OK
        return subjects

    def _are_training(self, job_ids: set[str]) -> bool:
        return job_ids <= {job.job_id for job in self._records.list_running() if job.stage == "training"}

    def _shows_segments(self, job_id: str) -> bool:
        """From now on, its log and its metrics cannot be read without the store."""
        log, metrics = (self._client.insist("GET", f"/jobs/{job_id}/{part}") for part in ("log", "metrics"))
        return bool(log.text and any(metrics.json().values()))

    def _ask_together(self, subjects: Subjects) -> list[Asker]:
        """All at once, as users do."""
        stop_at = time.monotonic() + self._seconds
        askers = []
        with ExitStack() as stack:
            for question in list_questions(subjects):
                client = stack.enter_context(Client(self._stack.url, self._stack.key))
                asker = Asker(question, client)
                askers.append(asker)
                stack.enter_context(running_beside(question.path, partial(asker.ask_until, stop_at)))
            time.sleep(self._seconds)  # for as long as the server is away
        return askers

    def _wait_until_well(self) -> float:
        started = time.monotonic()
        wait_until(self._client.is_all_well, seconds=RECOVERY_SECONDS)
        return time.monotonic() - started

    def _follow_jobs(self, outcome: Outcome, subjects: Subjects, baseline: Baseline) -> None:
        """Every job that there is: one may have been accepted and its 202 lost, or be cancelled after its 503."""
        fates = self._settle()
        accepted_ids = outcome.list_accepted("/jobs")
        cancelled_ids = outcome.list_accepted(f"/jobs/{subjects.unwanted_job_id}/cancel")
        allowed = {job_id: {baseline.short} for job_id in {*fates, *accepted_ids}}
        allowed[subjects.job_id] = {baseline.long}
        allowed[subjects.unwanted_job_id] = {CANCELLED} if cancelled_ids else {CANCELLED, baseline.long}
        outcome.followed += len(allowed)
        outcome.strayed += [job_id for job_id, right in allowed.items() if fates.get(job_id) not in right]
        outcome.attempts = max(self._records.find_status(job_id)[1] for job_id in fates)

    def _settle(self) -> dict[str, Fate]:
        """How jobs ended that have not been asked for before; one that does not end is not waited for without end."""
        give_up_at = time.monotonic() + JOB_SECONDS
        while not self._have_all_ended() and time.monotonic() < give_up_at:
            time.sleep(POLL_SECONDS)  # between two looks at the database
        ends = [end for end in self._records.list_ends() if end.job_id not in self._settled]
        self._settled |= {end.job_id for end in ends}
        return {end.job_id: Fate(end.status, tuple(end.weights_sha256)) for end in ends}

    def _have_all_ended(self) -> bool:
        return all(end.status in TERMINAL for end in self._records.list_ends())

    def _follow_uploads(self, outcome: Outcome) -> None:
        for dataset_id in outcome.list_accepted("/datasets"):
            outcome.followed += 1
            if self._find_import(dataset_id) != "ready":
                outcome.strayed.append(dataset_id)

    def _find_import(self, dataset_id: str) -> str:
        def find_status() -> str:
            return str(self._client.insist("GET", f"/datasets/{dataset_id}").json().get("status", "missing"))

        wait_until(lambda: find_status() != "importing", seconds=JOB_SECONDS)
        return find_status()

    def _post(self, dataset_id: str, *, epochs: int) -> str:
        answer = self._client.insist("POST", "/jobs", json=make_spec(dataset_id, epochs=epochs))
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["id"])


@contextmanager
def killed(server: Server) -> Iterator[None]:
    """Its ports are closed until the end of the block, where it is started again."""
    signal_all(find_descendants(server.process.pid), signal.SIGKILL)
    wait_until(lambda: not server.process.is_alive(), seconds=20)
    yield
    server.start()
    server.wait()


def main() -> int:
    options = _parse_options()
    console = Console(width=140)
    table = Table(*COLUMNS)
    good = True
    with run_stack(None) as stack, Client(stack.url, stack.key) as client:
        for outcome in Outages(stack, client, seconds=options.seconds).run(options.servers):
            cells = make_cells(outcome)
            console.print(f"{time.strftime('%H:%M:%S')} {' · '.join(cells)}", highlight=False)
            for said, count in {**outcome.count_wrong(), **Counter(outcome.strayed)}.items():
                console.print(f"  wrong, {count} times: {said}", highlight=False, markup=False)
            table.add_row(*cells)
            good = good and outcome.is_good()
    console.print(table)
    return 0 if good else 1


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.outages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120, help="how long each server is away")
    parser.add_argument("--servers", nargs="+", choices=SERVER_NAMES, default=list(SERVER_NAMES))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
