"""The life of one import run: bytes into the store, checked and packed in a limited child, results into the store."""

from pathlib import Path

from core.runs.types import Claim
from worker.context import WorkerContext
from worker.heartbeat import Heartbeat


def run_import(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path) -> None:
    """Runs one attempt until the dataset is ready; every other end is raised for the caller to settle."""
    _Import(context, held, beat, work_dir).run()
