"""What becomes of uploads: a dataset, or nothing."""

from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from core.db.session import SessionFactory
from core.db.tables import Deletion, Upload
from core.ids import make_id
from core.settings import Settings
from core.storage import Storage
from tests.api.uploading import (
    CONTENT,
    Json,
    get_upload,
    put_part,
    read_code,
    send_parts,
    send_whole,
    start_upload,
)
from tests.worker.contexts import make_context
from worker.collector import Collector


def age(sessions: SessionFactory, upload_id: str) -> None:
    """A lifetime later."""
    with sessions.begin() as session:
        upload = session.get_one(Upload, upload_id)
        assert upload.expires_at is not None
        upload.expires_at -= timedelta(days=1)


def test_upload_becomes_one_dataset(client: httpx.Client, storage: Storage) -> None:
    upload_id = send_whole(client)

    created = client.post("/datasets", json={"name": "cells", "upload_id": upload_id, "metadata": {"team": "pv"}})

    assert created.status_code == 202, created.text
    dataset = created.json()
    assert (dataset["status"], dataset["size_bytes"], dataset["sha256"]) == ("importing", len(CONTENT), None)
    assert dataset["metadata"] == {"team": "pv"}
    assert get_upload(client, upload_id)["expires_at"] is None
    again = client.post("/datasets", json={"name": "cells", "upload_id": upload_id})
    assert read_code(again) == (409, "upload_taken")
    assert dataset["id"] in again.json()["detail"]
    assert read_code(client.delete(f"/uploads/{upload_id}")) == (409, "upload_taken")
    assert storage.exists(f"uploads/{upload_id}/archive")


def test_pending_upload_becomes_no_dataset(client: httpx.Client) -> None:
    upload = start_upload(client)

    answer = client.post("/datasets", json={"name": "cells", "upload_id": upload["id"]})

    assert read_code(answer) == (409, "upload_incomplete")


def test_dataset_of_both_a_url_and_an_upload_is_refused(client: httpx.Client) -> None:
    answer = client.post("/datasets", json={"name": "cells", "upload_id": "upload_x", "url": "https://a.test/b.zip"})

    assert read_code(answer) == (422, "unknown_field")


def test_upload_of_another_project_is_not_there(client: httpx.Client, stranger: httpx.Client) -> None:
    upload_id = send_whole(client)
    unknown = make_id("upload")

    def ask(id_: str) -> list[tuple[int, str]]:
        answers = [
            stranger.get(f"/uploads/{id_}"),
            stranger.post(f"/uploads/{id_}/complete"),
            stranger.delete(f"/uploads/{id_}"),
            stranger.post("/datasets", json={"name": "cells", "upload_id": id_}),
        ]
        return [(answer.status_code, answer.json()["detail"].replace(id_, "ID")) for answer in answers]

    assert ask(upload_id) == ask(unknown) == [(404, "there is no upload 'ID'")] * 4
    assert get_upload(client, upload_id)["status"] == "completed"


def test_upload_of_a_form_is_not_shown(client: httpx.Client, sessions: SessionFactory) -> None:
    client.post("/datasets", files={"file": ("a.zip", b"PK\x03\x04" + b"x" * 600)}, data={"name": "cells"})
    with sessions() as session:
        upload_id = session.scalars(select(Upload.id)).one()

    assert read_code(client.get(f"/uploads/{upload_id}")) == (404, "upload_not_found")


@pytest.fixture
def collector(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> Collector:
    """Collects no orphans: what it deletes, a row has named."""
    never = settings.model_copy(update={"orphan_interval_hours": 0})
    return Collector(make_context(never, sessions, tmp_path))


@pytest.mark.parametrize("completed", [True, False])
def test_deleted_upload_is_gone_with_its_parts(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, collector: Collector, completed: bool
) -> None:
    upload = start_upload(client)
    send_parts(upload, 1, 2, 3)
    if completed:
        client.post(f"/uploads/{upload['id']}/complete")

    assert client.delete(f"/uploads/{upload['id']}").status_code == 204

    assert read_code(client.get(f"/uploads/{upload['id']}")) == (404, "upload_not_found")
    collector.collect()
    assert_nothing_is_left(storage, sessions, upload)


@pytest.mark.parametrize("completed", [True, False])
def test_expired_upload_is_gone_with_its_parts(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, collector: Collector, completed: bool
) -> None:
    upload = start_upload(client)
    send_parts(upload, 1, 2, 3)
    if completed:
        client.post(f"/uploads/{upload['id']}/complete")
    age(sessions, upload["id"])

    for answer in (
        client.get(f"/uploads/{upload['id']}"),
        client.post(f"/uploads/{upload['id']}/complete"),
        client.post("/datasets", json={"name": "cells", "upload_id": upload["id"]}),
    ):
        assert read_code(answer) == (404, "upload_not_found")
    collector.collect()
    assert_nothing_is_left(storage, sessions, upload)


def assert_nothing_is_left(storage: Storage, sessions: SessionFactory, upload: Json) -> None:
    """Nor does a URL that was signed before bring anything back."""
    assert put_part(upload["parts"][0]).status_code == 404
    prefix = f"uploads/{upload['id']}/"
    assert list(storage.list_keys(prefix)) == []
    assert list(storage.list_uploads(prefix)) == []
    with sessions() as session:
        assert session.get(Upload, upload["id"]) is None
        assert session.scalars(select(Deletion)).all() == []


def test_uploads_in_use_outlive_a_collection(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, collector: Collector
) -> None:
    taken, pending = send_whole(client), start_upload(client)
    client.post("/datasets", json={"name": "cells", "upload_id": taken})
    send_parts(pending, 1)

    collector.collect()

    assert storage.exists(f"uploads/{taken}/archive")
    assert get_upload(client, pending["id"])["parts"][0]["received"]


@pytest.mark.parametrize("url", ["s3://attic/cells.zip", "s3://bitune/uploads/upload_x/archive", "s3://lake/../x"])
def test_bucket_that_is_not_listed_is_refused_at_once(client: httpx.Client, url: str) -> None:
    answers = [
        client.post("/datasets", json={"name": "cells", "url": url}),
        client.post("/jobs", json={"dataset_url": url, "backbone": "tiny"}),
        client.post("/jobs/validate", json={"dataset_url": url, "backbone": "tiny"}),
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json()["code"] for answer in answers} <= {"url_not_allowed", "url_invalid"}


def test_bucket_that_is_listed_is_accepted(client: httpx.Client) -> None:
    answer = client.post("/datasets", json={"name": "cells", "url": "s3://lake/cells.zip"})

    assert (answer.status_code, answer.json()["source_url"]) == (202, "s3://lake/cells.zip")
