"""How long a job takes to its first step: `python -m benchmarks.first_step`, split by stage, on a cold and a warm host.

The service as it is deployed, on servers of its own; 200 solar cells, one epoch. Cold is the first job of a host:
dataset and weights have to be fetched and the pictures decoded. Warm is the next one of the same dataset and seed.
Each is posted as soon as the one before has ended, or `--rest-seconds` later, when a spare trainer is ready; without
spares: BITUNE_SPARE_TRAINERS=false.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.stack import run_servers, serve_api
from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from cli.commands import make_worker_command
from cli.demo.cells import draw_cells, write_archive
from cli.environment import make_environment
from cli.registration_process import run_registration
from core.db.session import make_engine, make_session_factory
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings
from core.storage import Storage
from core.trainer_protocol import TASK_FILE
from worker.trainer_process import LOG_FILE

LINE = re.compile(r"^(\S+ \S+),(\d+) INFO (.*)$", re.MULTILINE)
MARKS = {"began": "the trainer starts", "ready": "pictures", "step 0": "networks", "first step": "the first step"}
Stages = dict[str, float]  # seconds by stage, in order
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    with run_servers() as settings:
        secret = _set_up(settings)
        with serve_api(settings) as (_, url), _run_workers(settings) as worker_log:
            client = httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=60
            )
            dataset_id = _import_cells(client, options.pictures)
            runs = []
            for _ in range(1 + options.warm_jobs):
                time.sleep(options.rest_seconds)  # what is measured: a host that has nothing to do
                runs.append(_run_job(client, settings, worker_log, dataset_id))
    cold, *warm = runs
    medians = {stage: median(run[stage] for run in warm) for stage in cold}
    _report(cold, medians)
    print(json.dumps({"cold": cold, "warm": medians}))
    print(f"cold_s={sum(cold.values()):.1f} warm_s={sum(medians.values()):.1f}")


def _set_up(settings: Settings) -> str:
    Storage.from_settings(settings).ensure_bucket()
    run_registration(BUNDLED_NAME, find_bundled_weights(), make_environment(settings))
    engine = make_engine(settings.database_url.get_secret_value())
    with make_session_factory(engine).begin() as session:
        key = create_key(session, project_id=ensure_project(session), name="benchmark", scopes=ALL_SCOPES)
    engine.dispose()
    return key.secret


@contextmanager
def _run_workers(settings: Settings) -> Iterator[Path]:
    """Gives the log of the one that trains."""
    logs = {queue: settings.home / f"{queue}.log" for queue in ("train", "imports")}
    processes = []
    for queue, path in logs.items():
        environment = {**os.environ, **make_environment(settings), "BITUNE_WORKER_QUEUE": queue}
        with path.open("wb") as file:
            command = make_worker_command(queue, log_level="info")
            processes.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file))
    try:
        yield logs["train"]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _import_cells(client: httpx.Client, count: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "cells.zip"
        write_archive(archive, draw_cells(count, seed=0)[0])
        with archive.open("rb") as file:
            answer = client.post("/datasets", files={"file": ("cells.zip", file)}, data={"name": "cells"})
    dataset_id = str(answer.raise_for_status().json()["id"])
    while client.get(f"/datasets/{dataset_id}").json()["status"] == "importing":
        time.sleep(0.2)  # between two looks at the import
    return dataset_id


def _run_job(client: httpx.Client, settings: Settings, worker_log: Path, dataset_id: str) -> Stages:
    body = {"dataset_id": dataset_id, "training": {"epochs": 1, "image_size": 128}}
    posted_at = time.time()
    job_id = str(client.post("/jobs", json=body).raise_for_status().json()["id"])
    task_at, log_text = 0.0, ""
    while not client.get(f"/jobs/{job_id}").json()["terminal"]:
        for path in settings.work_dir.glob(f"**/{LOG_FILE}"):
            log_text = _read(path) or log_text
            task_at = _read_time(path.parent / TASK_FILE) or task_at
        time.sleep(0.05)  # between two looks at the log, which goes with its folder
    started_at = _find_start(worker_log)
    stages = {"waits in the queue": started_at - posted_at, "dataset and weights": task_at - started_at}
    before = task_at
    for mark, stage in MARKS.items():
        at = _find_mark(log_text, mark)
        stages[stage] = at - before
        before = at
    console.print({stage: round(seconds, 2) for stage, seconds in stages.items()})
    return {stage: round(seconds, 3) for stage, seconds in stages.items()}


def _find_start(worker_log: Path) -> float:
    """Of the last run, as the worker says."""
    lines = [line for line in worker_log.read_text().splitlines() if '"run_started"' in line]
    return datetime.fromisoformat(json.loads(lines[-1])["timestamp"]).timestamp()


def _find_mark(text: str, mark: str) -> float:
    for when, milliseconds, message in LINE.findall(text):
        if mark in message:
            return datetime.fromisoformat(when).timestamp() + int(milliseconds) / 1000
    raise RuntimeError(f"the trainer's log has no line with '{mark}'")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # the job has just ended
        return ""


def _read_time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _report(cold: Stages, warm: Stages) -> None:
    table = Table("stage", "cold, s", "warm, s")
    for stage, seconds in cold.items():
        table.add_row(stage, f"{seconds:.2f}", f"{warm[stage]:.2f}")
    table.add_row("from POST to the first step", f"{sum(cold.values()):.2f}", f"{sum(warm.values()):.2f}")
    console.print(table)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--warm-jobs", type=int, default=3)
    parser.add_argument("--rest-seconds", type=float, default=0.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
