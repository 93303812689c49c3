"""What is left when all is quiet: rows whose bytes are not there, bytes, files and processes that nobody owns."""

import hashlib
import time
from collections.abc import Callable, Iterator

from sqlalchemy import func, select, update

from core.checkpoints import read_manifest
from core.db.session import SessionFactory
from core.db.tables import Checkpoint, Model, Upload
from core.errors import BituneError
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE
from core.orphans import delete_orphan, find_orphans
from core.storage import Storage
from core.storage_errors import ObjectMissingError
from core.storage_keys import checkpoint_prefix, model_prefix
from tests.chaos.history import Damage
from tests.chaos.records import Records
from tests.chaos.stack import Stack
from tests.chaos.stored_keys import imply_keys
from tests.trainers import find_spare_pids, find_trainer_pids

POLL_SECONDS = 0.2
OUTBOX_SECONDS = 90.0  # a deletion that the store refused is tried again after a minute


def find_damaged(sessions: SessionFactory, storage: Storage) -> Iterator[Damage]:
    """Every file of every checkpoint and every model is read whole; the sums are taken here."""
    with sessions() as session:
        checkpoints, models = list(session.scalars(select(Checkpoint))), list(session.scalars(select(Model)))
    for checkpoint in checkpoints:
        yield from _find_damaged_parts(checkpoint, storage)
    for model in models:
        prefix = model_prefix(model.id)
        for name, sha256 in ((WEIGHTS_FILE, model.weights_sha256), (CARD_FILE, model.card_sha256)):
            if _read_sha256(storage, prefix + name) != sha256:
                yield Damage(model.job_id, f"{name} of model {model.id} is not what its row says")


def _find_damaged_parts(checkpoint: Checkpoint, storage: Storage) -> Iterator[Damage]:
    prefix = checkpoint_prefix(checkpoint.job_id, checkpoint.attempt, checkpoint.step)
    try:
        manifest = read_manifest(storage, prefix, sha256=checkpoint.manifest_sha256)
    except BituneError as exc:
        yield Damage(checkpoint.job_id, f"checkpoint {checkpoint.id}: {exc.message}")
        return
    for part in manifest.parts:
        if _read_sha256(storage, prefix + part.name) != part.sha256:
            yield Damage(checkpoint.job_id, f"{part.name} of checkpoint {checkpoint.id} is not what its manifest says")


def _read_sha256(storage: Storage, key: str) -> str | None:
    """None for an object that is not there."""
    try:
        return hashlib.sha256(storage.get_bytes(key)).hexdigest()
    except ObjectMissingError:
        return None


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


def find_missing(sessions: SessionFactory, storage: Storage) -> Iterator[Damage]:
    """Objects that a row asks for and the store does not have."""
    stored, implied = _list_keys(sessions, storage)
    yield from (Damage(_find_job(key), f"object {key} is not there") for key in sorted(implied - stored))


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


def find_spare_leftovers(stack: Stack) -> Iterator[str]:
    """Once the workers have ended."""
    yield from (f"spare {pid} after the workers' end" for pid in find_spare_pids(stack.settings.work_dir))


def _list_local(stack: Stack) -> Iterator[str]:
    yield from (f"trainer process {pid}" for pid in find_trainer_pids(stack.settings.work_dir))
    yield from (f"folder {path}" for path in stack.settings.work_dir.glob("*/run_*"))


def _find_job(key: str) -> str | None:
    """The job below whose prefix the object is."""
    root, _, rest = key.partition("/")
    return rest.partition("/")[0] if root == "jobs" else None


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
