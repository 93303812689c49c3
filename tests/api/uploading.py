"""What a client does with an upload in parts: the API has the plan, the store takes the bytes."""

import hashlib
from typing import Any

import httpx

Json = dict[str, Any]  # answers of the API

PART_BYTES = 5 * 1024**2
CONTENT = hashlib.sha256(b"cells").digest() * (2 * PART_BYTES // 32 + 3)  # a little more than two parts


def start_upload(client: httpx.Client, **fields: object) -> Json:
    answer = client.post("/uploads", json={"filename": "cells.zip", "size_bytes": len(CONTENT), **fields})
    assert answer.status_code == 201, answer.text
    upload: Json = answer.json()
    assert answer.headers["location"] == f"/uploads/{upload['id']}"
    return upload


def get_upload(client: httpx.Client, upload_id: str) -> Json:
    answer = client.get(f"/uploads/{upload_id}")
    assert answer.status_code == 200, answer.text
    upload: Json = answer.json()
    return upload


def slice_part(number: int) -> bytes:
    return CONTENT[(number - 1) * PART_BYTES : number * PART_BYTES]


def put_part(part: Json, content: bytes | None = None) -> httpx.Response:
    """Without a key of the API, and without any header that the URL would have to know of."""
    return httpx.put(part["url"], content=slice_part(part["number"]) if content is None else content, trust_env=False)


def send_parts(upload: Json, *numbers: int) -> None:
    for number in numbers:
        assert put_part(upload["parts"][number - 1]).status_code == 200


def send_whole(client: httpx.Client) -> str:
    upload = start_upload(client)
    send_parts(upload, 1, 2, 3)
    answer = client.post(f"/uploads/{upload['id']}/complete")
    assert answer.status_code == 200, answer.text
    return str(upload["id"])


def read_code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]
