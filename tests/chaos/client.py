"""Somebody with a key who does not give up: what is refused for now is asked again."""

import time
from typing import Any, Self

import httpx

from tests.conditions import wait_until

PATIENCE_SECONDS = 120.0
RETRY_SECONDS = 0.3

Json = dict[str, Any]  # answers of the API


class Client:
    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=15
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """None when nothing came back; options are httpx's."""
        try:
            return self._client.request(method, path, **options)
        except httpx.HTTPError:
            return None

    def insist(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Until there is an answer that is not "try again": a POST may so be done twice."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self.ask(method, path, **options)
            if answer is not None and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path} is not answered")
            time.sleep(RETRY_SECONDS)

    def upload(self, archive: bytes) -> str:
        answer = self.insist("POST", "/datasets", files={"file": ("cells.zip", archive)}, data={"name": "cells"})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        return str(answer.json()["id"])

    def import_dataset(self, archive: bytes) -> str:
        dataset_id = self.upload(archive)

        def is_over() -> bool:
            return bool(self.insist("GET", f"/datasets/{dataset_id}").json()["status"] != "importing")

        wait_until(is_over, seconds=PATIENCE_SECONDS)
        assert self.insist("GET", f"/datasets/{dataset_id}").json()["status"] == "ready"
        return dataset_id

    def is_all_well(self) -> bool:
        answer = self.ask("GET", "/readyz")
        return answer is not None and answer.status_code == httpx.codes.OK and answer.json()["status"] == "ok"
