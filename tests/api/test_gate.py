import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.testing import capture_logs

from api.errors import add_error_handlers
from api.request_ids import RequestIdLayer
from core.db.session import SessionFactory
from core.db.tables import Deletion, Key, Upload
from core.keys import create_key, ensure_project


def test_request_without_a_key_is_refused(api_url: str, sessions: SessionFactory) -> None:
    answer = httpx.get(f"{api_url}/jobs", trust_env=False)

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "key_required"


def test_unknown_key_is_refused(api_url: str, sessions: SessionFactory) -> None:
    answer = httpx.get(f"{api_url}/jobs", headers={"Authorization": "Bearer bt_nothing"}, trust_env=False)

    assert answer.json()["code"] == "invalid_key"


def test_key_works_until_it_is_revoked(client: httpx.Client, api_url: str) -> None:
    made = client.post("/keys", json={"name": "line-3", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert httpx.get(f"{api_url}/jobs", headers=headers, trust_env=False).status_code == 200

    assert client.delete(f"/keys/{made['id']}").status_code == 204

    assert httpx.get(f"{api_url}/jobs", headers=headers, trust_env=False).status_code == 401


def test_key_is_revoked_for_every_process_at_once(client: httpx.Client, api_url: str, other_api_url: str) -> None:
    made = client.post("/keys", json={"name": "line-3", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    urls = [f"{api_url}/jobs", f"{other_api_url}/jobs"]
    assert [httpx.get(url, headers=headers, trust_env=False).status_code for url in urls] == [200, 200]

    client.delete(f"/keys/{made['id']}")

    answers = [httpx.get(url, headers=headers, trust_env=False) for url in urls]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "key_revoked")] * 2


def test_key_expires_and_says_so(client: httpx.Client, sessions: SessionFactory) -> None:
    made = client.post("/keys", json={"name": "line-3", "scopes": ["read"], "expires_in_days": 1}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert made["expires_at"] is not None
    assert client.get("/jobs", headers=headers).status_code == 200
    with sessions.begin() as session:
        session.get_one(Key, made["id"]).expires_at = datetime.now(UTC)

    answer = client.get("/jobs", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "key_expired")


def test_key_shows_when_it_was_used_last(client: httpx.Client) -> None:
    made = client.post("/keys", json={"name": "line-3", "scopes": ["read"]}).json()
    assert made["last_used_at"] is None

    client.get("/jobs", headers={"Authorization": f"Bearer {made['secret']}"})

    shown = {key["id"]: key["last_used_at"] for key in client.get("/keys").json()["data"]}
    assert shown[made["id"]] is not None


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", "/jobs", "write"),
        ("GET", "/keys", "admin"),
        ("POST", "/predict", "predict"),
        ("GET", "/workers", "admin"),
    ],
)
def test_key_without_the_scope_is_refused(
    api_url: str, sessions: SessionFactory, method: str, path: str, needed: str
) -> None:
    with sessions.begin() as session:
        key = create_key(session, project_id=ensure_project(session), name="reader", scopes=("read",))

    answer = httpx.request(
        method, api_url + path, headers={"Authorization": f"Bearer {key.secret}"}, json={}, trust_env=False
    )

    assert answer.status_code == 403
    assert needed in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/docs"])
def test_health_and_docs_need_no_key(api_url: str, path: str) -> None:
    assert httpx.get(api_url + path, trust_env=False).status_code == 200


def test_every_answer_has_a_request_id(client: httpx.Client) -> None:
    answers = [client.get("/jobs"), client.get("/nowhere"), client.post("/jobs", json={"x": 1})]

    assert all(answer.headers["x-request-id"].startswith("req_") for answer in answers)
    assert answers[1].json()["request_id"] == answers[1].headers["x-request-id"]


def test_unknown_path_is_a_problem(client: httpx.Client) -> None:
    answer = client.get("/nowhere")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_wrong_method_is_a_problem(client: httpx.Client) -> None:
    answer = client.put("/jobs")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_body_that_says_it_is_too_long_is_refused_unread(client: httpx.Client) -> None:
    answer = client.post("/jobs", content=b"x" * 30_000, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_body_that_grows_too_long_is_refused(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 1000

    answer = client.post("/jobs", content=endless(), headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_body_within_the_limit_is_read(client: httpx.Client) -> None:
    answer = client.post("/jobs", content=b"x" * 10_000, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422


def test_upload_over_the_limit_leaves_nothing(client: httpx.Client, sessions: SessionFactory) -> None:
    big = b"PK\x03\x04" + b"x" * 2_000_000

    answer = client.post("/datasets", files={"file": ("a.zip", big)}, data={"name": "a"})

    assert answer.status_code == 413
    with sessions.begin() as session:
        assert session.scalars(select(Upload)).all() == []
        assert len(session.scalars(select(Deletion)).all()) <= 1


def ask_in_process(app: ASGIApp) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=RequestIdLayer(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/jobs")

    return asyncio.run(ask())


def test_crash_of_ours_is_a_problem_without_details() -> None:
    async def crash(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a secret detail")

    answer = ask_in_process(crash)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text


def test_crash_of_a_route_is_logged_once() -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/jobs")
    async def crash() -> None:
        raise RuntimeError("a secret detail")

    with capture_logs() as logs:
        answer = ask_in_process(app)

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["request_failed"]


def test_body_that_is_no_text_is_refused(client: httpx.Client) -> None:
    answer = client.post("/keys", content=b"\x1d\xff", headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_json")


@pytest.mark.parametrize(("size", "connection"), [(100, None), (1_000_000, "close")])
def test_refused_body_is_not_read_to_its_end(api_url: str, size: int, connection: str | None) -> None:
    answer = httpx.post(f"{api_url}/datasets", content=b"x" * size, trust_env=False)

    assert answer.status_code == 401
    assert answer.headers.get("connection") == connection


def test_form_of_very_many_parts_is_refused(client: httpx.Client) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n'

    answer = client.post("/predict", content=part * 1100, headers={"Content-Type": "multipart/form-data; boundary=b"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_form")
    assert "parts" in answer.json()["detail"]
