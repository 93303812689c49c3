"""Attempts at imports, on the real servers and with the real child."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from core import datasets
from core.db.session import SessionFactory
from core.db.tables import Dataset, Run
from core.runs.types import Claim
from core.settings import Settings
from core.states import RunStatus
from tests.factories import claim_run, make_project
from tests.pictures import make_archive
from tests.worker.contexts import make_context
from worker.context import WorkerContext
from worker.execution import execute


@pytest.fixture
def context(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> Iterator[WorkerContext]:
    changes = {"home": tmp_path, "heartbeat_seconds": 0.2, "url_allowed_hosts": ("127.0.0.1",)}
    context = make_context(settings.model_copy(update=changes), sessions, tmp_path / "work")
    context.work_dirs.open()
    yield context
    context.work_dirs.close()


def hold_import(session: Session, context: WorkerContext, archive: Path) -> tuple[Dataset, Claim]:
    """Of an archive that was uploaded."""
    upload = datasets.start_upload(session, project_id=make_project(session), filename="a.zip")
    datasets.complete_upload(session, upload.id, context.storage.put_file(upload.storage_key, archive))
    dataset, _ = datasets.create_dataset_from_upload(
        session, project_id=upload.project_id, name="cells", upload_id=upload.id, test_fraction=0.2, metadata={}
    )
    held = claim_run(session, queue="imports")
    session.commit()
    return dataset, held


class SetByFile(threading.Event):
    """Set as soon as there is such a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def is_set(self) -> bool:
        return self._path.exists()


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGKILL"])
def test_child_that_dies_while_its_worker_is_stopped_costs_the_import_nothing(
    context: WorkerContext, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    """As when a service manager ends both at once; were it asked for sooner, the child would not have started."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    asked = tmp_path / "asked"
    lines = f"import os, pathlib, signal\npathlib.Path({str(asked)!r}).touch()\nos.kill(os.getpid(), signal.{number})\n"
    (tmp_path / "sitecustomize.py").write_text(lines)
    dataset, held = hold_import(session, context, make_archive(tmp_path / "a.zip", {"cat": 10, "dog": 10}))

    execute(replace(context, stopping=SetByFile(asked)), held, devices=[])

    run = session.get_one(Run, dataset.run_id, populate_existing=True)
    assert (run.status, run.failures) == (RunStatus.QUEUED, {})
