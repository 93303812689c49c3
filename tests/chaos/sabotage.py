"""Switches one protection off inside a worker: the control arms, which the checker must find out."""

import os
from enum import StrEnum
from pathlib import Path

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from core.db.tables import Run
from core.runs import claims
from core.runs.types import Claim
from core.storage import Storage
from worker.sweeper import Sweeper

CONTROL_VARIABLE = "BITUNE_CHAOS_CONTROL"


class Control(StrEnum):
    NO_FENCE = "no-fence"
    NO_CHECKSUM = "no-checksum"
    NO_SWEEP = "no-sweep"


def sabotage() -> None:
    """Nothing where the environment names no control."""
    name = os.environ.get(CONTROL_VARIABLE)
    if not name:
        return
    match Control(name):
        case Control.NO_FENCE:
            claims._held_by = _hold_without_fence
            claims._lock_held = _lock_without_fence
        case Control.NO_CHECKSUM:
            Storage.download_file = _download_without_checksum  # type: ignore[assignment, method-assign]  # what a control is
        case Control.NO_SWEEP:
            Sweeper._sweep_runs = lambda *_: None  # type: ignore[method-assign]  # what a control is


def _hold_without_fence(held: Claim) -> tuple[ColumnElement[bool], ...]:
    return (Run.id == held.run_id,)


def _lock_without_fence(session: Session, held: Claim) -> Run:
    return session.get_one(Run, held.run_id, with_for_update=True)


def _download_without_checksum(storage: Storage, key: str, path: Path, *, sha256: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(storage.get_bytes(key))
