"""Named points around the commits and uploads of a worker, at which it kills or stops itself when a file says so.

A commit is named by the function of `worker` that makes it, an upload by what it stores: no line of the product knows
of them. An armed point is a file of that name with the signal's number in it; whoever removes it gets the signal.
"""

import inspect
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from sqlalchemy import event
from sqlalchemy.orm import Session

DIRECTORY_VARIABLE = "BITUNE_CHAOS_POINTS"
GLUE = frozenset({"worker.context", "worker.patience"})  # what lies between a commit and who wants it

COMMITS = (
    "collector._delete",
    "collector._empty_outbox",
    "collector._expire_uploads",
    "execution._claim",
    "execution.commit",
    "heartbeat._beat",
    "latest.flush",
    "preparation._load_rows",
    "preparation._resolve",
    "preparation.prepare_job",
    "segments.flush",
    "sweeper.sweep",
    "trainer._publish",
    "trainer._store_checkpoint",
)
COMMITS_ELSEWHERE = {  # of a worker, but not while it trains
    "collector._collect_orphans": "a day after the bucket was claimed",
    "collector._orphans_are_due": "writes nothing until then",
    "importer.*": "the importer's, which is killed as a whole",
    "lifecycle.*": "before the first and after the last run",
    "prober.*": "no job",
}
UPLOADS = ("state.safetensors", "state.json", "manifest.json", "jsonl", "txt", "weights.safetensors", "model.json")
_KEY = "chaos_key"  # in botocore's context of a request, whose values have many types
NAMES = tuple(f"{moment}-{name}" for name in (*COMMITS, *UPLOADS) for moment in ("before", "after"))
STOPS = (  # a worker that wakes here finds that its run may be somebody else's
    "after-execution._claim",
    "before-segments.flush",
    "after-state.safetensors",
    "before-trainer._store_checkpoint",
    "after-weights.safetensors",
    "before-trainer._publish",
    "after-trainer._publish",
)


def install_kill_points() -> None:
    """Before any engine or client is made."""
    directory = Path(os.environ[DIRECTORY_VARIABLE])
    for moment in ("before", "after"):
        event.listen(Session, f"{moment}_commit", partial(_reach_commit, directory, moment))
    boto3.setup_default_session()
    session = boto3.DEFAULT_SESSION
    if session is None:
        raise RuntimeError("boto3 has made no session")
    session.events.register("before-parameter-build.s3.PutObject", partial(_begin_upload, directory))
    session.events.register("after-call.s3.PutObject", partial(_end_upload, directory))


def _reach_commit(directory: Path, moment: str, _: Session) -> None:
    frame = inspect.currentframe()
    while frame is not None:
        module = frame.f_globals["__name__"]
        if module.startswith("worker.") and module not in GLUE:
            _reach(directory, f"{moment}-{module.removeprefix('worker.')}.{frame.f_code.co_name}")
            return
        frame = frame.f_back


def _begin_upload(directory: Path, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    context[_KEY] = params["Key"]
    _reach(directory, f"before-{_name_upload(context)}")


def _end_upload(directory: Path, context: dict[str, Any], **_: object) -> None:
    _reach(directory, f"after-{_name_upload(context)}")


def _name_upload(context: dict[str, Any]) -> str:
    """Segments are numbered: they go by their ending."""
    name = str(context[_KEY]).rsplit("/", 1)[-1]
    return name if name in UPLOADS else name.rsplit(".", 1)[-1]


def _reach(directory: Path, name: str) -> None:
    try:
        number = int((directory / name).read_text())
        (directory / name).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.Signals(number))
