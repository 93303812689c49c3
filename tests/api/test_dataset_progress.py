import hashlib

import httpx

from core.db.session import SessionFactory
from core.ingest.progress import ImportProgress
from core.runs import claims
from tests.factories import LEASE_SECONDS, claim_run

ARCHIVE = b"PK\x03\x04" + b"x" * 600


def post(client: httpx.Client) -> str:
    answer = client.post("/datasets", files={"file": ("a.zip", ARCHIVE)}, data={"name": "cells"})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_dataset_shows_its_archive_at_once(client: httpx.Client) -> None:
    dataset = client.get(f"/datasets/{post(client)}").json()

    assert (dataset["size_bytes"], dataset["sha256"]) == (len(ARCHIVE), hashlib.sha256(ARCHIVE).hexdigest())
    assert dataset["progress"] is None


def test_dataset_shows_how_far_its_import_is(client: httpx.Client, sessions: SessionFactory) -> None:
    dataset_id = post(client)
    progress = ImportProgress(stage="checking", percent=62.5, bytes_done=300, members_done=5, members_total=10)
    with sessions.begin() as session:
        held = claim_run(session, queue="imports")
        claims.beat(session, held, lease_seconds=LEASE_SECONDS, progress=progress)

    assert client.get(f"/datasets/{dataset_id}").json()["progress"] == {
        "stage": "checking",
        "percent": 62.5,
        "bytes_done": 300,
        "bytes_total": None,
        "members_done": 5,
        "members_total": 10,
    }

    with sessions.begin() as session:
        claims.succeed(session, held)
    assert client.get(f"/datasets/{dataset_id}").json()["progress"] is None
