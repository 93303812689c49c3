"""The whole URL of a dataset stands in one row, and for no longer than it is needed."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from core.datasets import create_dataset_from_url, delete_dataset, find_source_url, record_fetched
from core.db.session import SessionFactory
from core.db.tables import Dataset
from core.jobs import create_job
from core.masking import mask_url, name_file
from core.runs import claims, lifecycle
from core.runs.types import Claim, FailureClass, StatusReason
from core.settings import Settings
from core.specs import TrainingSpec
from core.storage import StoredObject
from core.storage_keys import fetched_key
from tests.end_to_end.leaks import find_leaks, read_rows
from tests.factories import claim_run, make_backbone, make_project

SECRET = "canary-signature"
URL = f"https://example.com/cells.zip?X-Amz-Signature={SECRET}"
REASON = StatusReason(code="url_timeout", message="the server is too slow", owner="user")
End = Callable[[Session, Claim, Dataset], None]


def make(session: Session) -> Dataset:
    project_id = make_project(session)
    return create_dataset_from_url(
        session, project_id=project_id, name="a", url=URL, test_fraction=0.2, metadata={}
    ).dataset


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://example.com/a/cells.zip", "https://example.com/a/cells.zip"),
        (URL, "https://example.com/cells.zip?…"),
        (f"https://user:{SECRET}@example.com:8443/a@b.zip#{SECRET}", "https://example.com:8443/a@b.zip?…"),
        (f"https://example.com?{SECRET}", "https://example.com?…"),
        (f"s3://bucket/a.zip?versionId={SECRET}", "s3://bucket/a.zip?…"),
    ],
)
def test_url_is_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked


def test_file_is_named_without_the_query() -> None:
    assert name_file(f"https://a.test/x/cells.zip?{SECRET}/y", default="archive") == "cells.zip"
    assert name_file(f"https://a.test/?{SECRET}", default="archive") == "archive"


def test_only_one_row_holds_the_whole_url(sessions: SessionFactory, settings: Settings) -> None:
    """Also the control: a planted secret is found, by its place."""
    with sessions.begin() as session:
        make(session)
        create_job(
            session,
            project_id=make_project(session),
            spec=TrainingSpec(backbone=make_backbone(session).name),
            dataset_id=None,
            dataset_url=URL,
            name=None,
            metadata={},
        )

    assert find_leaks(read_rows(settings), [SECRET]) == {("rows of import_sources", SECRET)}


def fetched(session: Session, held: Claim, dataset: Dataset) -> None:
    record_fetched(
        session, held, fetched_key(dataset.upload_id, held.attempt), StoredObject(size_bytes=1, sha256="a" * 64)
    )


def failed(session: Session, held: Claim, dataset: Dataset) -> None:
    claims.fail(session, held, FailureClass.USER, REASON)


def cancelled(session: Session, held: Claim, dataset: Dataset) -> None:
    lifecycle.request_cancel(session, dataset.run_id)
    claims.stop_cancelled(session, held)


def deleted(session: Session, held: Claim, dataset: Dataset) -> None:
    claims.hand_back(session, held, "its worker shuts down")
    delete_dataset(session, dataset.project_id, dataset.id)


@pytest.mark.parametrize("end", [fetched, failed, cancelled, deleted])
def test_url_goes_with_the_need_for_it(session: Session, end: End) -> None:
    dataset = make(session)
    held = claim_run(session, queue="imports")
    assert find_source_url(session, dataset.run_id) == URL

    end(session, held, dataset)

    assert find_source_url(session, dataset.run_id) is None


def test_url_stays_for_the_next_try(session: Session) -> None:
    dataset = make(session)
    claims.fail(session, claim_run(session, queue="imports"), FailureClass.CRASH, REASON)

    assert find_source_url(session, dataset.run_id) == URL
