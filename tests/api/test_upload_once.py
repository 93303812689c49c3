"""Uploads in parts under an `Idempotency-Key` and under quotas."""

import httpx
import pytest
from sqlalchemy import func, select

from core.db.session import SessionFactory
from core.db.tables import Deletion, IdempotencyKey, Upload
from core.keys import ensure_project
from core.quotas import QuotaName, set_quota
from core.storage import Storage
from core.storage_keys import upload_prefix
from tests.api.uploading import CONTENT, get_upload, read_code, send_parts, send_whole, start_upload

ONCE = {"Idempotency-Key": "one"}
BODY = {"filename": "cells.zip", "size_bytes": len(CONTENT)}


def limit(sessions: SessionFactory, name: QuotaName, value: int) -> None:
    with sessions.begin() as session:
        set_quota(session, ensure_project(session), name, value)


def count_uploads(sessions: SessionFactory) -> int:
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(Upload)) or 0


def count_deletions(sessions: SessionFactory) -> int:
    """Of what was opened at the store for nothing."""
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(Deletion)) or 0


def test_start_that_is_sent_again_goes_on_with_the_first(client: httpx.Client, sessions: SessionFactory) -> None:
    first = client.post("/uploads", json=BODY, headers=ONCE)
    send_parts(first.json(), 2)

    again = client.post("/uploads", json=BODY, headers=ONCE)

    assert (again.status_code, again.headers["location"]) == (201, first.headers["location"])
    assert again.headers["idempotent-replayed"] == "true"
    assert [part["received"] for part in again.json()["parts"]] == [False, True, False]
    assert (count_uploads(sessions), count_deletions(sessions)) == (1, 1)
    with sessions() as session:
        assert "X-Amz-Signature" not in str(session.scalars(select(IdempotencyKey.response)).one())


def test_start_beyond_the_quota_leaves_nothing(client: httpx.Client, sessions: SessionFactory) -> None:
    limit(sessions, QuotaName.UPLOADS_AT_ONCE, 1)
    start_upload(client)

    refused = client.post("/uploads", json=BODY)

    assert read_code(refused) == (429, "quota_uploads_at_once")
    assert (count_uploads(sessions), count_deletions(sessions)) == (1, 0)


def test_start_that_is_sent_again_after_the_upload_has_ended_says_so(client: httpx.Client) -> None:
    first = client.post("/uploads", json=BODY, headers=ONCE)
    client.delete(first.headers["location"])

    assert read_code(client.post("/uploads", json=BODY, headers=ONCE)) == (409, "upload_ended")


def test_announced_bytes_beyond_the_quota_are_refused(client: httpx.Client, sessions: SessionFactory) -> None:
    limit(sessions, QuotaName.STORED_BYTES, 2 * len(CONTENT) - 1)
    start_upload(client)

    assert read_code(client.post("/uploads", json=BODY)) == (429, "quota_stored_bytes")


@pytest.mark.parametrize("headers", [{}, ONCE])
def test_upload_that_a_quota_kept_from_a_dataset_can_still_become_one(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, headers: dict[str, str]
) -> None:
    upload_id = send_whole(client)
    body = {"name": "cells", "upload_id": upload_id}
    limit(sessions, QuotaName.DATASETS, 0)
    assert read_code(client.post("/datasets", json=body, headers=headers)) == (429, "quota_datasets")
    assert get_upload(client, upload_id)["status"] == "completed"
    limit(sessions, QuotaName.DATASETS, 1)

    assert client.post("/datasets", json=body, headers=headers).status_code == 202
    assert storage.exists(upload_prefix(upload_id) + "archive")


def test_dataset_of_an_upload_is_made_once(client: httpx.Client) -> None:
    body = {"name": "cells", "upload_id": send_whole(client)}
    first = client.post("/datasets", json=body, headers=ONCE)

    again = client.post("/datasets", json=body, headers=ONCE)

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
