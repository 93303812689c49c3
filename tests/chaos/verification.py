"""What is left when all is quiet: rows whose bytes are not there, bytes, files and processes that nobody owns."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from core.checkpoints import download_checkpoint
from core.db.session import SessionFactory
from core.db.tables import Checkpoint, Model
from core.errors import BituneError
from core.models import WEIGHTS_FILE
from core.orphans import find_orphans
from core.storage import Storage
from core.storage_keys import checkpoint_prefix, model_prefix
from tests.chaos.stack import Stack
from tests.end_to_end.service import find_trainer_pids


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
    """What killed attempts left, whatever its age: nothing runs any more. The number of prefixes."""
    orphans = list(find_orphans(storage, sessions, min_age_hours=0))
    for orphan in orphans:
        storage.delete_prefix(orphan.prefix)
    return len(orphans)


def find_leftovers(stack: Stack, sessions: SessionFactory, storage: Storage) -> Iterator[str]:
    """After the collector and a new start of the workers."""
    yield from (f"trainer process {pid}" for pid in find_trainer_pids(stack.settings.work_dir))
    yield from (f"folder {path}" for path in stack.settings.work_dir.glob("*/run_*"))
    yield from (f"objects {orphan.prefix}" for orphan in find_orphans(storage, sessions, min_age_hours=0))
