"""NUL, the one character that PostgreSQL cannot keep in a text, wherever a client can put one."""

import httpx
import pytest

NUL = "a\0b"
JOB = {"dataset_id": "ds_x"}


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/a%00b",
        "/jobs/a%00b/events",
        "/datasets/a%00b",
        "/datasets/a%00b/samples",
        "/models/a%00b",
        "/uploads/a%00b",
        "/jobs?name=a%00b",
        "/jobs?after=a%00b",
        "/jobs?metadata[team]=a%00b",
        "/datasets?name=a%00b",
    ],
)
def test_nul_in_an_address_is_not_valid(client: httpx.Client, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code in {404, 422}, answer.json()["code"] != "internal_error") == (True, True), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/jobs", JOB | {"backbone": NUL}),
        ("/jobs", JOB | {"name": NUL}),
        ("/jobs", JOB | {"metadata": {NUL: "x"}}),
        ("/jobs", JOB | {"training": {"class_weights": {NUL: 1}}}),
        ("/jobs", {"dataset_id": NUL}),
        ("/jobs/validate", JOB | {"backbone": NUL}),
        ("/datasets", {"name": NUL, "url": "https://example.com/cells.zip"}),
        ("/datasets", {"name": "x", "url": f"https://example.com/{NUL}.zip"}),
        ("/datasets", {"name": "x", "upload_id": NUL}),
        ("/uploads", {"filename": NUL, "size_bytes": 1}),
        ("/keys", {"name": NUL, "scopes": ["read"]}),
    ],
)
def test_nul_in_a_body_is_not_valid(client: httpx.Client, path: str, body: dict[str, object]) -> None:
    answer = client.post(path, json=body)

    assert answer.status_code in {404, 422}, answer.text


def test_nul_is_said_by_name(client: httpx.Client) -> None:
    answer = client.post("/keys", json={"name": NUL, "scopes": ["read"]})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_text")
