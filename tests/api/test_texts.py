"""NUL, the one character that PostgreSQL cannot keep in a text, wherever a client can put one."""

import re

import httpx
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError

from api.errors import describe
from core.db.session import SessionFactory
from core.keys import ensure_project
from tests.api.test_openapi import SNAPSHOT
from tests.factories import make_backbone, make_dataset

NUL = "a\0b"
EMPTY_ZIP = b"PK\x05\x06" + bytes(18)
SPEC = {"backbone": "tiny", "method": {"type": "vanilla"}}


def list_addresses() -> list[tuple[str, str]]:
    """Every route with something in its path, and NUL there."""
    paths = httpx.Response(200, content=SNAPSHOT.read_bytes()).json()["paths"]
    return [
        (method, re.sub(r"{\w+}", "a%00b", path))
        for path, methods in paths.items()
        for method in methods
        if "{" in path and method in {"get", "delete"}
    ]


@pytest.fixture
def dataset_id(sessions: SessionFactory) -> str:
    """A ready dataset, and a backbone."""
    with sessions.begin() as session:
        make_backbone(session)
        return make_dataset(session, project_id=ensure_project(session)).id


@pytest.mark.parametrize(("method", "path"), list_addresses())
def test_nul_in_a_path_is_not_valid(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)

    assert answer.status_code in {404, 422}, answer.text


@pytest.mark.parametrize(
    "query",
    ["jobs?name=a%00b", "jobs?after=a%00b", "jobs?metadata[team]=a%00b", "jobs?metadata[%00]=a", "keys?after=%00"],
)
def test_nul_in_a_query_is_not_valid(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/{query}")

    assert answer.status_code in {404, 422}, answer.text


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": NUL},
        {"name": NUL},
        {"metadata": {NUL: "x"}},
        {"metadata": {"x": NUL}},
        {"dataset_id": NUL},
        {"training": {"class_weights": {NUL: 1}}},
    ],
)
def test_nul_in_a_job_is_not_valid(client: httpx.Client, dataset_id: str, change: dict[str, object]) -> None:
    answer = client.post("/jobs", json=SPEC | {"dataset_id": dataset_id} | change)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_text"), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/datasets", {"name": NUL, "url": "https://example.com/cells.zip"}),
        ("/datasets", {"name": "x", "url": "https://example.com/cells.zip", "metadata": {"x": NUL}}),
        ("/datasets", {"name": "x", "upload_id": NUL}),
        ("/uploads", {"filename": NUL, "size_bytes": 1}),
        ("/keys", {"name": NUL, "scopes": ["read"]}),
    ],
)
def test_nul_in_a_body_is_not_valid(client: httpx.Client, path: str, body: dict[str, object]) -> None:
    answer = client.post(path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_text"), answer.text


def test_nul_in_a_form_is_not_valid(client: httpx.Client) -> None:
    answer = client.post("/datasets", files={"file": ("cells.zip", EMPTY_ZIP)}, data={"name": NUL})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_text"), answer.text


def test_other_faults_of_data_are_ours(sessions: SessionFactory) -> None:
    with sessions() as session, pytest.raises(DataError) as caught:
        session.execute(text("select 1 / 0"))

    assert isinstance(caught.value.orig, psycopg.errors.DivisionByZero)
    assert describe(caught.value).status == 500
