"""A POST with a key is done once, whoever sends it how often, and whatever dies in between."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from core.db.session import SessionFactory
from core.db.tables import Dataset, Deletion, IdempotencyKey, Job, Key
from core.keys import ensure_project
from tests.factories import make_backbone, make_dataset
from tests.pictures import make_archive

PARALLEL = 50


def with_key(value: str) -> dict[str, str]:
    return {"Idempotency-Key": value}


@pytest.fixture
def dataset_id(sessions: SessionFactory, client: httpx.Client) -> str:
    with sessions.begin() as session:
        make_backbone(session)
        return make_dataset(session, project_id=ensure_project(session)).id


def make_body(dataset_id: str, **fields: object) -> dict[str, object]:
    return {"dataset_id": dataset_id, "backbone": "tiny"} | fields


def test_parallel_requests_with_one_key_make_one_job(
    client: httpx.Client, sessions: SessionFactory, dataset_id: str
) -> None:
    def post(_: int) -> httpx.Response:
        return client.post("/jobs", json=make_body(dataset_id), headers=with_key("a"))

    with ThreadPoolExecutor(PARALLEL) as pool:
        answers = list(pool.map(post, range(PARALLEL)))

    accepted = [answer for answer in answers if answer.status_code == 202]
    assert {answer.json()["id"] for answer in accepted} == {client.get("/jobs").json()["data"][0]["id"]}
    assert {answer.json()["code"] for answer in answers if answer.status_code != 202} <= {"idempotency_in_flight"}
    with sessions() as session:
        assert len(session.scalars(select(Job)).all()) == 1


def test_replay_is_the_first_answer_and_says_so(client: httpx.Client, dataset_id: str) -> None:
    first, again = (client.post("/jobs", json=make_body(dataset_id), headers=with_key("a")) for _ in range(2))

    assert (again.status_code, again.json()) == (first.status_code, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")


def test_other_body_with_the_same_key_is_refused(client: httpx.Client, dataset_id: str) -> None:
    client.post("/jobs", json=make_body(dataset_id), headers=with_key("a"))

    answer = client.post("/jobs", json=make_body(dataset_id, name="other"), headers=with_key("a"))

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_request_that_was_refused_may_be_mended(client: httpx.Client, dataset_id: str) -> None:
    refused = client.post("/jobs", json=make_body("ds_nothing"), headers=with_key("a"))

    mended = client.post("/jobs", json=make_body(dataset_id), headers=with_key("a"))

    assert (refused.status_code, mended.status_code) == (404, 202)


def test_request_in_flight_says_when_to_come_again(
    client: httpx.Client, sessions: SessionFactory, dataset_id: str
) -> None:
    client.post("/jobs", json=make_body(dataset_id), headers=with_key("a"))
    with sessions.begin() as session:
        row = session.scalars(select(IdempotencyKey)).one()
        row.status_code, row.response = None, None

    answer = client.post("/jobs", json=make_body(dataset_id), headers=with_key("a"))

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_flight")
    assert (answer.json()["retryable"], "retry-after" in answer.headers) == (True, True)


def test_file_sent_twice_is_one_dataset_and_its_second_copy_goes(
    client: httpx.Client, sessions: SessionFactory, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path / "cells.zip", {"a": 1, "b": 1}).read_bytes()

    def post(name: str) -> httpx.Response:
        files = {"file": ("cells.zip", archive)}
        return client.post("/datasets", files=files, data={"name": name}, headers=with_key("a"))

    first, again, other = post("cells"), post("cells"), post("others")

    assert again.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    with sessions() as session:
        assert len(session.scalars(select(Dataset)).all()) == 1
        assert len(session.scalars(select(Deletion)).all()) == 2


def test_url_sent_twice_is_one_dataset(client: httpx.Client, sessions: SessionFactory) -> None:
    body = {"name": "cells", "url": "https://example.com/cells.zip"}

    first, again = (client.post("/datasets", json=body, headers=with_key("a")) for _ in range(2))

    assert again.json() == first.json()
    with sessions() as session:
        assert len(session.scalars(select(Dataset)).all()) == 1


def test_secret_is_kept_nowhere_and_never_replayed(client: httpx.Client, sessions: SessionFactory) -> None:
    body = {"name": "line-3", "scopes": ["read"]}

    first, again = (client.post("/keys", json=body, headers=with_key("a")) for _ in range(2))

    assert (again.status_code, again.json()["code"]) == (409, "shown_once")
    assert first.json()["id"] in again.json()["detail"]
    with sessions() as session:
        assert first.json()["secret"] not in str(session.scalars(select(IdempotencyKey)).one().response)
        assert len(session.scalars(select(Key)).all()) == 2
