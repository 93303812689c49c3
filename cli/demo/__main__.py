"""`python -m cli.demo HOME`: one fine-tuning from a dataset's URL to predictions, all of it through the HTTP API."""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console

from cli.demo.cells import Cell, compute_majority_rate, draw_cells, write_archive
from cli.demo.client import Client, Series
from cli.demo.figure import count_confusion, write_figure
from cli.demo.file_server import serve_folder
from cli.demo.watching import watch_job
from cli.errors import LocalStackError
from cli.local_stack import LocalStack, run_local_stack
from cli.ports import LOOPBACK

SEED = 0
TRAIN_CELLS = 600
KEPT_CELLS = 600
OUTPUT = Path("demo-output")
JOB = {
    "name": "demo",
    "backbone": "tf_efficientnet_lite0",
    "method": {"type": "bi_tuning"},
    "training": {"image_size": 128, "epochs": 12, "batch_size": 32, "learning_rate": 0.03},
    "seed": SEED,
}


@dataclass(frozen=True)
class Outcome:
    model_id: str
    series: Series
    predicted: list[str]


def main(home: Path, console: Console) -> None:
    train_cells, kept_cells = draw_cells(TRAIN_CELLS, KEPT_CELLS, seed=SEED)
    console.print("Starting PostgreSQL, Valkey, SeaweedFS, the API and two workers on this machine …")
    with run_local_stack(home, port=0, allowed_hosts=(LOOPBACK,), console=console) as stack:
        outcome = _fine_tune(stack, train_cells, kept_cells, console)
        console.print("Stopping …")
    truth = [cell.label for cell in kept_cells]
    confusion = count_confusion(truth, outcome.predicted)
    majority = compute_majority_rate(kept_cells)
    figure = _write_output(outcome, kept_cells)
    write_figure(figure, outcome.series, confusion, majority=majority)
    accuracy = confusion.trace() / confusion.sum()
    _say_how_to_go_on(home, outcome.model_id, figure, kept_cells[0], console)
    console.print(
        f"{accuracy:.1%} of the {KEPT_CELLS} cells that were kept aside are right; "
        f"always saying '{max(truth, key=truth.count)}' is right for {majority:.1%}.\n"
    )
    sys.stdout.write(f"accuracy={accuracy:.3f} majority={majority:.3f}\n")


def _fine_tune(stack: LocalStack, train_cells: list[Cell], kept_cells: list[Cell], console: Console) -> Outcome:
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_folder(Path(folder)) as address,
        Client(stack.url, stack.key) as client,
    ):
        write_archive(Path(folder, "cells.zip"), train_cells)
        started = time.monotonic()
        job = client.create_job({**JOB, "dataset_url": f"{address}/cells.zip"})
        console.print(f"{job.id}: {len(train_cells)} cells from {address}/cells.zip, fine-tuned with Bi-tuning …")
        job = watch_job(client, job, console)
        console.print(f"The model {job.model_id} is ready after {time.monotonic() - started:.0f} s.")
        model_id = str(job.model_id)
        return Outcome(model_id, client.get_metrics(job.id), client.predict(model_id, kept_cells))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Console())
    except (LocalStackError, httpx.HTTPError) as exc:
        sys.exit(str(exc))
    except KeyboardInterrupt:
        sys.exit("stopped")
