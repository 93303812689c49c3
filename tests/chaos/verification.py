"""What is left when all is quiet: rows whose bytes are not there, bytes, files and processes that nobody owns."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import func, select, update

from core.checkpoints import download_checkpoint
from core.db.session import SessionFactory
from core.db.tables import Checkpoint, Model, Upload
from core.errors import BituneError
from core.models import WEIGHTS_FILE
from core.orphans import delete_orphan, find_orphans
from core.storage import Storage
from core.storage_keys import checkpoint_prefix, model_prefix
from tests.chaos.records import Records
from tests.chaos.stack import Stack
from tests.chaos.stored_keys import imply_keys
from tests.end_to_end.service import find_trainer_pids

POLL_SECONDS = 0.2
OUTBOX_SECONDS = 90.0  # a deletion that the store refused is tried again after a minute


def find_damaged(sessions: SessionFactory, storage: Storage) -> Iterator[str]:
    """Every checkpoint and every model is read whole."""
    with sessions() as session:
        checkpoints, models = list(session.scalars(select(Checkpoint))), list(session.scalars(select(Model)))
    with tempfile.TemporaryDirectory() as folder:
        for checkpoint in checkpoints:
            prefix = checkpoint_prefix(checkpoint.job_id, checkpoint.attempt, checkpoint.step)
            try:
                download_checkpoint(storage, prefix, Path(folder), sha256=checkpoint.manifest_sha256)
            except BituneError as exc:
                yield f"checkpoint {checkpoint.id}: {exc.message}"
        for model in models:
            key = model_prefix(model.id) + WEIGHTS_FILE
            try:
                storage.download_file(key, Path(folder, "weights"), sha256=model.weights_sha256)
            except BituneError as exc:
                yield f"model {model.id}: {exc.message}"


def collect_orphans(sessions: SessionFactory, storage: Storage) -> int:
    """What killed attempts left, whatever its age: nothing runs any more. The number of prefixes.

    As a day later, when uploads that a killed API left behind have expired.
    """
    with sessions.begin() as session:
        session.execute(update(Upload).where(Upload.expires_at.is_not(None)).values(expires_at=func.clock_timestamp()))
    orphans = list(find_orphans(storage, sessions, min_age_hours=0))
    for orphan in orphans:
        delete_orphan(storage, orphan)
    return len(orphans)


def find_missing(sessions: SessionFactory, storage: Storage) -> Iterator[str]:
    """Objects that a row asks for and the store does not have."""
    stored, implied = _list_keys(sessions, storage)
    yield from (f"object {key} is not there" for key in sorted(implied - stored))


def find_surplus(sessions: SessionFactory, storage: Storage) -> Iterator[str]:
    """Objects and unfinished uploads that no row asks for, after the collector."""
    stored, implied = _list_keys(sessions, storage)
    yield from (f"object {key}" for key in sorted(stored - implied))
    yield from (f"unfinished upload of {upload.key}" for upload in storage.list_uploads(""))


def wait_for_deletions(records: Records) -> Iterator[str]:
    """While the workers still run, whose work this is."""
    _wait_while(lambda: records.count_deletions() > 0, seconds=OUTBOX_SECONDS)
    count = records.count_deletions()
    if count:
        yield f"{count} prefixes wait for {OUTBOX_SECONDS:.0f} s to be deleted"


def find_local_leftovers(stack: Stack, *, seconds: float, moment: str) -> Iterator[str]:
    """Trainers and folders of attempts on this host that are still there when `seconds` have passed."""
    _wait_while(lambda: any(_list_local(stack)), seconds=seconds)
    yield from (f"{text} {moment}" for text in _list_local(stack))


def _list_local(stack: Stack) -> Iterator[str]:
    yield from (f"trainer process {pid}" for pid in find_trainer_pids(stack.settings.work_dir))
    yield from (f"folder {path}" for path in stack.settings.work_dir.glob("*/run_*"))


def _list_keys(sessions: SessionFactory, storage: Storage) -> tuple[set[str], set[str]]:
    """What is stored, and what the rows ask for."""
    with sessions() as session:
        implied = imply_keys(session, storage)
    return {item.key for item in storage.list_objects("")}, implied


def _wait_while(condition: Callable[[], bool], *, seconds: float) -> None:
    """Or until the time is up: the checker will say what that means."""
    deadline = time.monotonic() + seconds
    while condition() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
