"""Shows a job while it runs: a live bar on a terminal, a line an epoch elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cli.demo.client import Client, Job
from cli.errors import LocalStackError

POLL_SECONDS = 0.5
SHOWN_METRICS = {"train_loss": "loss", "val_loss": "val loss", "val_accuracy": "val accuracy"}


COLUMNS = (
    SpinnerColumn(),
    TextColumn("{task.description}"),
    BarColumn(bar_width=30),
    TaskProgressColumn(),
    TimeElapsedColumn(),
    TextColumn("{task.fields[details]}"),
)


def watch_job(client: Client, job: Job, console: Console) -> Job:
    """Returns the job when it has succeeded; raises LocalStackError when it ended otherwise."""
    shown = _show_bar if console.is_terminal else _show_lines
    with shown(console) as show:
        while not job.terminal:
            time.sleep(POLL_SECONDS)
            job = client.get_job(job.id)
            show(job)
    if job.status != "succeeded":
        raise LocalStackError(f"the job ended as {job.status}: {job.status_reason}")
    return job


@contextmanager
def _show_bar(console: Console) -> Iterator[Callable[[Job], None]]:
    with Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task("waiting", total=None, details="")

        def show(job: Job) -> None:
            bar.update(task, description=describe(job), details=describe_details(job))
            if job.progress is not None:
                bar.update(task, total=job.progress.total_steps, completed=job.progress.step)

        yield show


@contextmanager
def _show_lines(console: Console) -> Iterator[Callable[[Job], None]]:
    said: set[str] = set()

    def show(job: Job) -> None:
        if describe(job) not in said:
            said.add(describe(job))
            console.print(f"{describe(job)} {describe_details(job)}")

    yield show


def describe(job: Job) -> str:
    if job.progress is None:
        return job.status
    match job.progress.stage:
        case "training":
            return f"epoch {job.progress.epoch} of {job.progress.total_epochs}"
        case stage:
            return stage


def describe_details(job: Job) -> str:
    parts = [f"{name} {job.metrics[key]:.3f}" for key, name in SHOWN_METRICS.items() if key in job.metrics]
    if job.progress is not None and job.progress.eta_seconds is not None:
        parts.append(f"{job.progress.eta_seconds:.0f} s left")
    return ", ".join(parts)
