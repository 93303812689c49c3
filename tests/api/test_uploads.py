"""Uploads in parts, as a client does them: the API for the plan, the store for the bytes."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from core.db.session import SessionFactory
from core.db.tables import Deletion, Upload
from core.ids import make_id
from core.settings import Settings
from core.storage import Storage
from core.upload_parts import open_client_upload
from tests.worker.contexts import make_context
from worker.collector import Collector

Json = dict[str, Any]  # answers of the API

PART_BYTES = 5 * 1024**2
CONTENT = hashlib.sha256(b"cells").digest() * (2 * PART_BYTES // 32 + 3)  # a little more than two parts


def start(client: httpx.Client, **fields: object) -> Json:
    answer = client.post("/uploads", json={"filename": "cells.zip", "size_bytes": len(CONTENT), **fields})
    assert answer.status_code == 201, answer.text
    upload: Json = answer.json()
    assert answer.headers["location"] == f"/uploads/{upload['id']}"
    return upload


def get(client: httpx.Client, upload_id: str) -> Json:
    answer = client.get(f"/uploads/{upload_id}")
    assert answer.status_code == 200, answer.text
    upload: Json = answer.json()
    return upload


def slice_part(number: int) -> bytes:
    return CONTENT[(number - 1) * PART_BYTES : number * PART_BYTES]


def put(part: Json, content: bytes | None = None) -> httpx.Response:
    """Without a key of the API, and without any header that the URL would have to know of."""
    return httpx.put(part["url"], content=slice_part(part["number"]) if content is None else content, trust_env=False)


def send(upload: Json, *numbers: int) -> None:
    for number in numbers:
        assert put(upload["parts"][number - 1]).status_code == 200


def send_whole(client: httpx.Client) -> str:
    upload = start(client)
    send(upload, 1, 2, 3)
    answer = client.post(f"/uploads/{upload['id']}/complete")
    assert answer.status_code == 200, answer.text
    return str(upload["id"])


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def find_row(sessions: SessionFactory, upload_id: str) -> Upload | None:
    with sessions() as session:
        return session.get(Upload, upload_id)


def age(sessions: SessionFactory, upload_id: str) -> None:
    """A lifetime later."""
    with sessions.begin() as session:
        upload = session.get_one(Upload, upload_id)
        assert upload.expires_at is not None
        upload.expires_at -= timedelta(days=1)


def test_upload_that_broke_off_goes_on(client: httpx.Client, storage: Storage) -> None:
    upload = start(client)
    assert [part["size_bytes"] for part in upload["parts"]] == [PART_BYTES, PART_BYTES, len(CONTENT) - 2 * PART_BYTES]
    send(upload, 3, 1)

    resumed = get(client, upload["id"])
    assert [(part["received"], part["url"] is None) for part in resumed["parts"]] == [
        (True, True),
        (False, False),
        (True, True),
    ]
    refused = client.post(f"/uploads/{upload['id']}/complete")
    assert code(refused) == (409, "upload_incomplete")
    assert "missing: 2" in refused.json()["detail"]
    send(resumed, 2)
    completed = client.post(f"/uploads/{upload['id']}/complete").json()

    assert (completed["status"], completed["parts"]) == ("completed", [])
    assert storage.get_bytes(f"uploads/{upload['id']}/archive") == CONTENT


def test_completing_again_says_the_same(client: httpx.Client) -> None:
    upload_id = send_whole(client)

    again = client.post(f"/uploads/{upload_id}/complete")

    assert (again.status_code, again.json()) == (200, get(client, upload_id))


def test_completing_at_once_is_completing(client: httpx.Client, storage: Storage) -> None:
    upload = start(client)
    send(upload, 1, 2, 3)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(f"/uploads/{upload['id']}/complete"), range(4)))

    assert {answer.status_code for answer in answers} == {200}
    assert storage.get_bytes(f"uploads/{upload['id']}/archive") == CONTENT


def test_upload_whose_completion_was_not_recorded_is_completed(
    client: httpx.Client, sessions: SessionFactory, storage: Storage
) -> None:
    """As after the death of the API between the store and the row."""
    upload = start(client)
    send(upload, 1, 2, 3)
    row = find_row(sessions, upload["id"])
    assert row is not None
    at_store = open_client_upload(storage, row)
    at_store.finish(list(at_store.list_parts().values()))

    assert {part["received"] for part in get(client, upload["id"])["parts"]} == {True}
    assert client.post(f"/uploads/{upload['id']}/complete").status_code == 200


@pytest.mark.parametrize("length", [1, PART_BYTES - 1, PART_BYTES + 1])
def test_part_of_another_length_is_refused_by_the_store(client: httpx.Client, length: int) -> None:
    upload = start(client)

    assert put(upload["parts"][0], b"x" * length).status_code == 403

    assert not get(client, upload["id"])["parts"][0]["received"]


def test_url_is_good_for_its_part_alone(client: httpx.Client) -> None:
    first, second, _ = start(client)["parts"]
    other = start(client)

    for url in (
        first["url"].replace("partNumber=1", "partNumber=2"),
        first["url"].replace("/uploads/", "/datasets/"),
        first["url"].replace(first["url"].split("?")[0], other["parts"][0]["url"].split("?")[0]),
    ):
        assert put({"url": url, "number": 1}).status_code == 403
    assert put(second).status_code == 200


def test_part_that_is_sent_twice_counts_as_it_came_last(client: httpx.Client, storage: Storage) -> None:
    upload = start(client)
    assert put(upload["parts"][2], b"x" * upload["parts"][2]["size_bytes"]).status_code == 200
    send(upload, 1, 2, 3)

    assert client.post(f"/uploads/{upload['id']}/complete").status_code == 200

    assert storage.get_bytes(f"uploads/{upload['id']}/archive") == CONTENT


def test_parts_that_the_store_lost_are_said(client: httpx.Client, storage: Storage) -> None:
    upload = start(client)
    send(upload, 1)
    storage.delete_prefix(f"uploads/{upload['id']}/")

    assert code(client.get(f"/uploads/{upload['id']}")) == (409, "upload_lost")
    assert code(client.post(f"/uploads/{upload['id']}/complete")) == (409, "upload_lost")
    assert client.delete(f"/uploads/{upload['id']}").status_code == 204


def test_upload_above_the_limit_is_refused(client: httpx.Client) -> None:
    answer = client.post("/uploads", json={"filename": "a.zip", "size_bytes": 20 * 1024**2 + 1})

    assert code(answer) == (413, "upload_too_large")


@pytest.mark.parametrize(
    "fields", [{"size_bytes": 0}, {"size_bytes": 2**63}, {"sha256": "AB" * 32}, {"sha256": "ab"}, {"filename": ""}]
)
def test_upload_that_cannot_be_is_refused(client: httpx.Client, fields: Json) -> None:
    body = {"filename": "a.zip", "size_bytes": 5, **fields}

    assert code(client.post("/uploads", json=body)) == (422, "invalid_request")


def test_upload_becomes_one_dataset(client: httpx.Client, storage: Storage) -> None:
    upload_id = send_whole(client)

    created = client.post("/datasets", json={"name": "cells", "upload_id": upload_id, "metadata": {"team": "pv"}})

    assert created.status_code == 202, created.text
    dataset = created.json()
    assert (dataset["status"], dataset["size_bytes"], dataset["sha256"]) == ("importing", len(CONTENT), None)
    assert dataset["metadata"] == {"team": "pv"}
    assert get(client, upload_id)["expires_at"] is None
    again = client.post("/datasets", json={"name": "cells", "upload_id": upload_id})
    assert code(again) == (409, "upload_taken")
    assert dataset["id"] in again.json()["detail"]
    assert code(client.delete(f"/uploads/{upload_id}")) == (409, "upload_taken")
    assert storage.exists(f"uploads/{upload_id}/archive")


def test_pending_upload_becomes_no_dataset(client: httpx.Client) -> None:
    upload = start(client)

    answer = client.post("/datasets", json={"name": "cells", "upload_id": upload["id"]})

    assert code(answer) == (409, "upload_incomplete")


def test_dataset_of_both_a_url_and_an_upload_is_refused(client: httpx.Client) -> None:
    answer = client.post("/datasets", json={"name": "cells", "upload_id": "upload_x", "url": "https://a.test/b.zip"})

    assert code(answer) == (422, "unknown_field")


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
    assert get(client, upload_id)["status"] == "completed"


def test_upload_of_a_form_is_not_shown(client: httpx.Client, sessions: SessionFactory) -> None:
    client.post("/datasets", files={"file": ("a.zip", b"PK\x03\x04" + b"x" * 600)}, data={"name": "cells"})
    with sessions() as session:
        upload_id = session.scalars(select(Upload.id)).one()

    assert code(client.get(f"/uploads/{upload_id}")) == (404, "upload_not_found")


@pytest.fixture
def collector(settings: Settings, sessions: SessionFactory, tmp_path: Path) -> Collector:
    """Collects no orphans: what it deletes, a row has named."""
    never = settings.model_copy(update={"orphan_interval_hours": 0})
    return Collector(make_context(never, sessions, tmp_path))


@pytest.mark.parametrize("completed", [True, False])
def test_deleted_upload_is_gone_with_its_parts(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, collector: Collector, completed: bool
) -> None:
    upload = start(client)
    send(upload, 1, 2, 3)
    if completed:
        client.post(f"/uploads/{upload['id']}/complete")

    assert client.delete(f"/uploads/{upload['id']}").status_code == 204

    assert code(client.get(f"/uploads/{upload['id']}")) == (404, "upload_not_found")
    collector.collect()
    assert_nothing_is_left(storage, sessions, upload)


@pytest.mark.parametrize("completed", [True, False])
def test_expired_upload_is_gone_with_its_parts(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, collector: Collector, completed: bool
) -> None:
    upload = start(client)
    send(upload, 1, 2, 3)
    if completed:
        client.post(f"/uploads/{upload['id']}/complete")
    age(sessions, upload["id"])

    for answer in (
        client.get(f"/uploads/{upload['id']}"),
        client.post(f"/uploads/{upload['id']}/complete"),
        client.post("/datasets", json={"name": "cells", "upload_id": upload["id"]}),
    ):
        assert code(answer) == (404, "upload_not_found")
    collector.collect()
    assert_nothing_is_left(storage, sessions, upload)


def assert_nothing_is_left(storage: Storage, sessions: SessionFactory, upload: Json) -> None:
    """Nor does a URL that was signed before bring anything back."""
    assert put(upload["parts"][0]).status_code == 404
    prefix = f"uploads/{upload['id']}/"
    assert list(storage.list_keys(prefix)) == []
    assert list(storage.list_uploads(prefix)) == []
    with sessions() as session:
        assert session.get(Upload, upload["id"]) is None
        assert session.scalars(select(Deletion)).all() == []


def test_uploads_in_use_outlive_a_collection(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, collector: Collector
) -> None:
    taken, pending = send_whole(client), start(client)
    client.post("/datasets", json={"name": "cells", "upload_id": taken})
    send(pending, 1)

    collector.collect()

    assert storage.exists(f"uploads/{taken}/archive")
    assert get(client, pending["id"])["parts"][0]["received"]


def test_signatures_are_kept_by_nobody(client: httpx.Client, sessions: SessionFactory) -> None:
    with capture_logs() as logged:
        answer = client.post("/uploads", json={"filename": "a.zip", "size_bytes": 5})
    upload = answer.json()
    signature = upload["parts"][0]["url"].partition("X-Amz-Signature=")[2]

    assert answer.headers["cache-control"] == "no-store"
    assert signature
    assert signature not in str(logged)
    row = find_row(sessions, upload["id"])
    assert row is not None
    assert signature not in str(vars(row))


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
