"""Uploads in parts, from their start to their completion."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from structlog.testing import capture_logs

from core.db.session import SessionFactory
from core.db.tables import Upload
from core.storage import Storage
from core.upload_parts import open_client_upload
from tests.api.uploading import (
    CONTENT,
    PART_BYTES,
    Json,
    get_upload,
    put_part,
    read_code,
    send_parts,
    send_whole,
    start_upload,
)
from tests.conditions import wait_until


def find_row(sessions: SessionFactory, upload_id: str) -> Upload | None:
    with sessions() as session:
        return session.get(Upload, upload_id)


def test_upload_that_broke_off_goes_on(client: httpx.Client, storage: Storage) -> None:
    upload = start_upload(client)
    assert [part["size_bytes"] for part in upload["parts"]] == [PART_BYTES, PART_BYTES, len(CONTENT) - 2 * PART_BYTES]
    send_parts(upload, 3, 1)

    resumed = get_upload(client, upload["id"])
    assert [(part["received"], part["url"] is None) for part in resumed["parts"]] == [
        (True, True),
        (False, False),
        (True, True),
    ]
    refused = client.post(f"/uploads/{upload['id']}/complete")
    assert read_code(refused) == (409, "upload_incomplete")
    assert "missing: 2" in refused.json()["detail"]
    send_parts(resumed, 2)
    completed = client.post(f"/uploads/{upload['id']}/complete").json()

    assert (completed["status"], completed["parts"]) == ("completed", [])
    assert storage.get_bytes(f"uploads/{upload['id']}/archive") == CONTENT


def test_completing_again_says_the_same(client: httpx.Client) -> None:
    upload_id = send_whole(client)

    again = client.post(f"/uploads/{upload_id}/complete")

    assert (again.status_code, again.json()) == (200, get_upload(client, upload_id))


def test_completing_at_once_is_completing(client: httpx.Client, storage: Storage) -> None:
    upload = start_upload(client)
    send_parts(upload, 1, 2, 3)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: client.post(f"/uploads/{upload['id']}/complete"), range(4)))

    assert {answer.status_code for answer in answers} == {200}
    assert storage.get_bytes(f"uploads/{upload['id']}/archive") == CONTENT


def test_upload_whose_completion_was_not_recorded_is_completed(
    client: httpx.Client, sessions: SessionFactory, storage: Storage
) -> None:
    """As after the death of the API between the store and the row."""
    upload = start_upload(client)
    send_parts(upload, 1, 2, 3)
    row = find_row(sessions, upload["id"])
    assert row is not None
    at_store = open_client_upload(storage, row)
    at_store.finish(list(at_store.list_parts().values()))

    assert {part["received"] for part in get_upload(client, upload["id"])["parts"]} == {True}
    assert client.post(f"/uploads/{upload['id']}/complete").status_code == 200


@pytest.mark.parametrize("length", [1, PART_BYTES - 1, PART_BYTES + 1])
def test_part_of_another_length_is_refused_by_the_store(client: httpx.Client, length: int) -> None:
    upload = start_upload(client)

    assert put_part(upload["parts"][0], b"x" * length).status_code == 403

    assert not get_upload(client, upload["id"])["parts"][0]["received"]


def test_url_is_good_for_its_part_alone(client: httpx.Client) -> None:
    first, second, _ = start_upload(client)["parts"]
    other = start_upload(client)

    for url in (
        first["url"].replace("partNumber=1", "partNumber=2"),
        first["url"].replace("/uploads/", "/datasets/"),
        first["url"].replace(first["url"].split("?")[0], other["parts"][0]["url"].split("?")[0]),
    ):
        assert put_part({"url": url, "number": 1}).status_code == 403
    assert put_part(second).status_code == 200


def test_part_that_is_sent_twice_counts_as_it_came_last(client: httpx.Client, storage: Storage) -> None:
    """Times at the store are whole seconds: until one has passed, the part has to be sent again."""
    upload = start_upload(client)
    assert put_part(upload["parts"][2], b"x" * upload["parts"][2]["size_bytes"]).status_code == 200
    send_parts(upload, 1, 2)

    def is_complete() -> bool:
        send_parts(upload, 3)
        return client.post(f"/uploads/{upload['id']}/complete").status_code == 200

    wait_until(is_complete, seconds=10)

    assert storage.get_bytes(f"uploads/{upload['id']}/archive") == CONTENT


def test_parts_that_the_store_lost_are_said(client: httpx.Client, storage: Storage) -> None:
    upload = start_upload(client)
    send_parts(upload, 1)
    storage.delete_prefix(f"uploads/{upload['id']}/")

    assert read_code(client.get(f"/uploads/{upload['id']}")) == (409, "upload_lost")
    assert read_code(client.post(f"/uploads/{upload['id']}/complete")) == (409, "upload_lost")
    assert client.delete(f"/uploads/{upload['id']}").status_code == 204


def test_upload_above_the_limit_is_refused(client: httpx.Client) -> None:
    answer = client.post("/uploads", json={"filename": "a.zip", "size_bytes": 20 * 1024**2 + 1})

    assert read_code(answer) == (413, "upload_too_large")


@pytest.mark.parametrize(
    "fields", [{"size_bytes": 0}, {"size_bytes": 2**63}, {"sha256": "AB" * 32}, {"sha256": "ab"}, {"filename": ""}]
)
def test_upload_that_cannot_be_is_refused(client: httpx.Client, fields: Json) -> None:
    body = {"filename": "a.zip", "size_bytes": 5, **fields}

    assert read_code(client.post("/uploads", json=body)) == (422, "invalid_request")


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
