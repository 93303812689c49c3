"""Attempts at imports, on the real servers and with the real child."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cli.ports import find_free_port
from core import datasets, uploads
from core.db.session import SessionFactory
from core.db.tables import Dataset, Run
from core.runs import claims, lifecycle
from core.runs.types import BUDGET, Claim, FailureClass
from core.settings import Settings
from core.states import RunStatus
from core.storage import Storage
from core.storage_client import Patience
from core.storage_keys import upload_prefix
from tests.chaos.s3_faults import Unavailable
from tests.chaos.s3_proxy import S3Proxy, run_s3_proxy
from tests.conditions import wait_until
from tests.core.ingest.servers import Served, serve
from tests.factories import claim_run, make_project
from tests.pictures import make_archive
from tests.tarpit import open_tarpit
from tests.worker.contexts import make_context
from worker.context import WorkerContext
from worker.execution import execute
from worker.timed_event import TimedEvent

ONE_TRY = Patience(connect_seconds=2, read_seconds=20, attempts=1)


@pytest.fixture
def context(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> Iterator[WorkerContext]:
    changes = {"home": tmp_path, "heartbeat_seconds": 0.2, "url_allowed_hosts": ("127.0.0.1",)}
    context = make_context(settings.model_copy(update=changes), sessions, tmp_path / "work")
    context.work_dirs.open()
    yield context
    context.work_dirs.close()


def hold_import(session: Session, context: WorkerContext, archive: Path) -> tuple[Dataset, Claim]:
    """Of an archive that was uploaded."""
    upload = uploads.start_upload(session, project_id=make_project(session), filename="a.zip", lifetime_hours=1)
    uploads.complete_upload(session, upload.id, context.storage.put_file(upload.storage_key, archive))
    dataset, _ = datasets.create_dataset_from_upload(
        session, project_id=upload.project_id, name="cells", upload_id=upload.id, test_fraction=0.2, metadata={}
    )
    held = claim_run(session, queue="imports")
    session.commit()
    return dataset, held


def hold_fetch(session: Session, url: str) -> tuple[Dataset, Claim]:
    """Of what a URL names."""
    dataset, _ = datasets.create_dataset_from_url(
        session, project_id=make_project(session), name="cells", url=url, test_fraction=0.2, metadata={}
    )
    held = claim_run(session, queue="imports")
    session.commit()
    return dataset, held


@contextmanager
def serve_archive(directory: Path) -> Iterator[Served]:
    body = make_archive(directory / "a.zip", {"cat": 10, "dog": 10}).read_bytes()
    with serve(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body) as server:
        yield server


def read_run(session: Session, dataset: Dataset) -> Run:
    session.rollback()
    return session.get_one(Run, dataset.run_id, populate_existing=True)


class SetByFile(TimedEvent):
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

    run = read_run(session, dataset)
    assert (run.status, run.failures) == (RunStatus.QUEUED, {})


@pytest.fixture
def proxy(settings: Settings) -> Iterator[S3Proxy]:
    with run_s3_proxy(settings) as proxy:
        yield proxy


def move_store(context: WorkerContext, url: str) -> WorkerContext:
    settings = context.settings.model_copy(update={"s3_endpoint_url": url})
    return replace(context, settings=settings, storage=Storage.from_settings(settings, ONE_TRY))


def test_url_is_not_asked_again_because_the_store_is_away_for_a_while(
    context: WorkerContext, proxy: S3Proxy, session: Session, tmp_path: Path
) -> None:
    behind_proxy = move_store(context, proxy.url)
    proxy.set_fault(Unavailable())
    with serve_archive(tmp_path) as server, ThreadPoolExecutor() as pool:
        dataset, held = hold_fetch(session, server.url)
        attempt = pool.submit(execute, behind_proxy, held, [])
        wait_until(lambda: proxy.hits > ONE_TRY.attempts, seconds=10)
        proxy.set_fault(None)
        attempt.result()

    assert (read_run(session, dataset).status, len(server.requests)) == (RunStatus.SUCCEEDED, 1)


def test_store_that_hangs_does_not_keep_a_cancelled_fetch(
    context: WorkerContext, session: Session, tmp_path: Path
) -> None:
    with serve_archive(tmp_path) as server, open_tarpit() as port, ThreadPoolExecutor() as pool:
        dataset, held = hold_fetch(session, server.url)
        attempt = pool.submit(execute, move_store(context, f"http://127.0.0.1:{port}"), held, [])
        wait_until(lambda: len(server.requests) > 0, seconds=10)
        lifecycle.request_cancel(session, held.run_id)
        session.commit()
        attempt.result(timeout=10)

    assert read_run(session, dataset).status == RunStatus.CANCELLED


def test_attempt_that_was_left_behind_overwrites_nothing(
    context: WorkerContext, session: Session, tmp_path: Path
) -> None:
    silent = replace(context, settings=context.settings.model_copy(update={"heartbeat_seconds": 60.0}))
    with serve_archive(tmp_path) as server:
        dataset, zombie = hold_fetch(session, server.url)
        claims.hand_back(session, zombie, "as if it had been lost")
        session.commit()

        execute(silent, zombie, devices=[])
        held = claim_run(session, queue="imports")
        session.commit()
        execute(silent, held, devices=[])

    assert read_run(session, dataset).status == RunStatus.SUCCEEDED
    prefix = upload_prefix(dataset.upload_id)
    assert set(context.storage.list_keys(prefix)) == {f"{prefix}1/archive", f"{prefix}2/archive"}


def test_server_that_does_not_answer_is_tried_again_a_few_times(context: WorkerContext, session: Session) -> None:
    url = f"http://127.0.0.1:{find_free_port(set())}/a.zip"
    dataset, held = hold_fetch(session, url)
    for _ in range(BUDGET[FailureClass.FETCH]):
        execute(context, held, devices=[])
        run = read_run(session, dataset)
        assert (run.status, run.losses) == (RunStatus.QUEUED, 0)
        assert run.run_after > run.queued_at
        run.run_after = run.queued_at  # it has rested
        session.flush()
        held = claim_run(session, queue="imports")
        session.commit()

    execute(context, held, devices=[])

    run = read_run(session, dataset)
    assert run.status == RunStatus.FAILED
    assert run.status_reason is not None
    assert (run.status_reason["code"], run.status_reason["owner"]) == ("url_unreachable", "user")
