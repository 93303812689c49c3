"""`python -m cli.demo HOME`: one fine-tuning from a dataset's URL to predictions, all of it through the HTTP API."""

import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from cli.demo.cells import Cell, draw_cells, write_archive
from cli.demo.client import Client
from cli.demo.file_server import serve_folder
from cli.demo.report import OUTPUT, Outcome, write_report
from cli.demo.watching import watch_job
from cli.errors import LocalStackError
from cli.local_stack import LocalStack, run_local_stack
from cli.ports import LOOPBACK

SEED = 0
TRAIN_CELLS = 600
KEPT_CELLS = 600
JOB = {
    "name": "demo",
    "backbone": "tf_efficientnet_lite0",
    "method": {"type": "bi_tuning"},
    "training": {"image_size": 128, "epochs": 16},
    "seed": SEED,
}


def main(home: Path, console: Console) -> None:
    train_cells, kept_cells = draw_cells(TRAIN_CELLS, KEPT_CELLS, seed=SEED)
    console.print("Starting PostgreSQL, Valkey, SeaweedFS, the API and two workers on this machine …")
    with run_local_stack(home, port=0, allowed_hosts=(LOOPBACK,), console=console) as stack:
        outcome = _fine_tune(stack, train_cells, kept_cells, console)
        console.print("Stopping …")
    write_report(outcome, home, console)


def _fine_tune(stack: LocalStack, train_cells: list[Cell], kept_cells: list[Cell], console: Console) -> Outcome:
    OUTPUT.mkdir(exist_ok=True)
    write_archive(OUTPUT / "cells.zip", train_cells)
    with serve_folder(OUTPUT) as address, Client(stack.url, stack.key) as client:
        started = time.monotonic()
        job = client.create_job({**JOB, "dataset_url": f"{address}/cells.zip"})
        console.print(f"Fine-tuning on {len(train_cells)} solar cells from {address}/cells.zip: {job.id}")
        job = watch_job(client, job, console)
        console.print(f"Ready after {time.monotonic() - started:.0f} s: {job.model_id}")
        console.print(f"Calling predict on {len(kept_cells)} cells that were kept aside …")
        return Outcome(
            model_id=str(job.model_id),
            series=client.get_metrics(job.id),
            cells=kept_cells,
            predicted=client.predict(str(job.model_id), kept_cells),
        )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Console(soft_wrap=True))
    except (LocalStackError, httpx.HTTPError) as exc:
        sys.exit(str(exc))
    except KeyboardInterrupt:
        sys.exit("Stopped.")
