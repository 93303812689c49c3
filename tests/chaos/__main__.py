"""`python -m tests.chaos --seed S --minutes M`: disturbs a real stack, and says whether a job was lost for it."""

import argparse
import dataclasses
import json
import secrets
import sys
import time
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console

from core.db.session import make_session_factory
from core.states import TERMINAL
from tests.chaos.checker import check, find_gaps
from tests.chaos.client import Client
from tests.chaos.history import History
from tests.chaos.import_faults import ImportFaults
from tests.chaos.job_faults import JobFaults
from tests.chaos.load import VARIANTS, Load, make_archive
from tests.chaos.process_faults import ProcessFaults
from tests.chaos.records import Records
from tests.chaos.report import last_line, print_table, render_markdown
from tests.chaos.sabotage import Control
from tests.chaos.schedule import make_control_lanes, make_lanes, run_lanes
from tests.chaos.server_faults import ServerFaults
from tests.chaos.stack import SLOTS, Stack, run_stack
from tests.chaos.summary import count_violations, make_rows
from tests.chaos.verification import (
    collect_orphans,
    find_damaged,
    find_local_leftovers,
    find_missing,
    find_spare_leftovers,
    find_surplus,
    wait_for_deletions,
)
from tests.chaos.violation import Violation

CONSOLE_WIDTH = 130
OPEN_JOBS = 4
QUIET_SECONDS = 240.0
SETTLE_SECONDS = 10.0  # after the last end, until its worker has tidied up


def main() -> int:
    options = _parse_options()
    console = Console(width=CONSOLE_WIDTH)
    if options.judge:
        history = TypeAdapter(History).validate_json(options.judge.read_bytes())
        return _report(history, check(history), console, options.markdown)
    console.print(f"seed {options.seed}; the same faults again: --seed {options.seed}")
    history = History(seed=options.seed, slots=SLOTS)
    with run_stack(options.control) as stack:
        _Run(stack, history, options, console).run()
    if options.history:
        options.history.write_text(json.dumps(dataclasses.asdict(history)))
    return _report(history, check(history), console, options.markdown)


class _Run:
    def __init__(self, stack: Stack, history: History, options: argparse.Namespace, console: Console) -> None:
        self._stack = stack
        self._history = history
        self._options = options
        self._console = console
        self._engine = stack.make_engine()
        self._sessions = make_session_factory(self._engine)
        self._records = Records(self._engine)

    def run(self) -> None:
        self._say("importing the pictures")
        archive = make_archive()
        with Client(self._stack.url, self._stack.key) as client:
            dataset_id = client.import_dataset(archive)
        load = Load(self._stack, self._records, self._history, dataset_id, variants=self._options.variants)
        self._say("training each variant undisturbed")
        load.run_references()
        processes = ProcessFaults(self._stack, self._records, load, seed=self._history.seed)
        with (
            load.watched(),
            processes.kept_alive(),
            Client(self._stack.url, self._stack.key) as client,
        ):
            jobs = JobFaults(client, self._records, load, processes)
            imports = ImportFaults(self._stack, client, self._records, archive)
            self._disturb(load, processes, jobs, imports)
            self._say("waiting for the last jobs")
            self._wait_until_quiet(jobs)
            load.poll_all()
            self._look_at_workers()
        self._verify()
        self._engine.dispose()

    def _disturb(self, load: Load, processes: ProcessFaults, jobs: JobFaults, imports: ImportFaults) -> None:
        servers = ServerFaults(self._stack, self._records)
        control = self._options.control
        lanes = (
            make_lanes(processes, servers, jobs, imports)
            if control is None
            else make_control_lanes(control, processes, self._stack)
        )
        self._say(f"disturbing for {self._options.minutes} minutes")
        with load.keep(OPEN_JOBS):
            run_lanes(lanes, self._history, seconds=self._options.minutes * 60)
        self._stack.proxy.set_fault(None)

    def _wait_until_quiet(self, jobs: JobFaults) -> None:
        """A run without a sweep never gets quiet: the checker says what is lost."""
        seconds = QUIET_SECONDS / 6 if self._options.control is Control.NO_SWEEP else QUIET_SECONDS
        deadline = time.monotonic() + seconds
        while self._records.count_open() and time.monotonic() < deadline:
            jobs.resume_paused()
            time.sleep(1)

    def _look_at_workers(self) -> None:
        """While they run: stopping would tidy up for them. What still runs keeps its folder."""
        if self._records.count_open():
            return
        leftovers = self._history.leftovers
        leftovers += wait_for_deletions(self._records)
        leftovers += find_local_leftovers(self._stack, seconds=SETTLE_SECONDS, moment="while the workers run")

    def _verify(self) -> None:
        self._say("verifying what is stored")
        for worker in self._stack.workers:
            worker.ask_to_stop()
        for worker in self._stack.workers:
            worker.wait_for_end()
        history, storage = self._history, self._stack.make_direct_storage()
        history.leftovers += find_local_leftovers(self._stack, seconds=0, moment="after the workers' end")
        history.leftovers += find_spare_leftovers(self._stack)
        collected = collect_orphans(self._sessions, storage)
        self._say(f"the collector removed what {collected} killed attempts had left in the store")
        history.damaged = [*find_damaged(self._sessions, storage), *find_missing(self._sessions, storage)]
        history.leftovers += find_surplus(self._sessions, storage)
        self._read_records()

    def _read_records(self) -> None:
        history = self._history
        history.accepted = self._records.list_accepted()
        history.ends = self._records.list_ends()
        history.imports = self._records.list_imports()
        history.changes = self._records.list_changes()
        history.writes = self._records.list_writes()
        history.attempts = self._records.list_attempts()

    def _say(self, text: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False)


def _report(history: History, violations: list[Violation], console: Console, markdown: Path | None) -> int:
    rows = make_rows(history, violations)
    if markdown:
        markdown.write_text(render_markdown(rows))
    print_table(rows, console)
    for violation in violations:
        console.print(f"{violation.kind} {violation.invariant} {violation.job_id or ''}: {violation.text}")
    gaps = list(find_gaps(history))
    for gap in gaps:
        console.print(f"this run says nothing: {gap}")
    ended = sum(end.status in TERMINAL for end in history.ends)
    attempts = sum(change.status == "running" for change in history.changes)
    left = sum(violation.kind == "left" for violation in violations)
    console.print(f"{ended} jobs in {attempts} attempts; {len(history.polls)} polls; {left} things left behind")
    print(last_line(count_violations(violations), faults=len(history.faults)))  # noqa: T201 - for programs
    return 1 if violations or gaps else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of the faults; printed")
    parser.add_argument("--minutes", type=float, default=10, help="how long faults are injected")
    parser.add_argument(
        "--variants", type=int, default=len(VARIANTS), help="different jobs, each run undisturbed first"
    )
    parser.add_argument("--control", type=Control, help="switch one protection off: no-fence, no-checksum or no-sweep")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    parser.add_argument("--judge", type=Path, help="judge what an earlier run wrote by --history, and disturb nothing")
    parser.add_argument("--history", type=Path, help="where to write all that was seen, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
