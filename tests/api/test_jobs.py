from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.db.session import SessionFactory
from core.db.tables import Dataset, Job, Run
from core.keys import ensure_project
from core.runs import claims, sweeps
from core.runs.types import RunKind
from tests.factories import claim_run, make_backbone, make_dataset, make_job, make_worker


@pytest.fixture
def dataset_id(sessions: SessionFactory, client: httpx.Client) -> str:
    with sessions.begin() as session:
        make_backbone(session)
        return make_dataset(session, project_id=ensure_project(session)).id


def count_rows(session: Session) -> int:
    return len([*session.scalars(select(Job)), *session.scalars(select(Run)), *session.scalars(select(Dataset))])


def test_posted_job_is_queued(client: httpx.Client, dataset_id: str) -> None:
    answer = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"})

    job = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["terminal"], job["seed"]) == ("queued", False, 0)
    assert job["queue"] == {"position": 1, "reason": "no worker is online"}


def test_job_with_a_url_makes_its_dataset(client: httpx.Client, dataset_id: str) -> None:
    job = client.post("/jobs", json={"dataset_url": "https://example.com/cells.zip", "backbone": "tiny"}).json()

    dataset = client.get(f"/datasets/{job['dataset_id']}").json()
    assert (dataset["status"], dataset["name"]) == ("importing", "cells.zip")
    assert job["queue"]["reason"] == "the dataset is being imported"


BAD_BODIES = {
    "typo": ({"learning_rte": 0.1}, 422, "unknown_field", "learning_rte"),
    "typo inside": ({"training": {"learning_rte": 0.1}}, 422, "unknown_field", "training.learning_rte"),
    "unknown backbone": ({"backbone": "resnet51"}, 422, "unknown_backbone", "backbone"),
    "other weights": ({"backbone_sha256": "b" * 64}, 422, "backbone_changed", "backbone_sha256"),
    "unknown dataset": ({"dataset_id": "ds_nothing"}, 404, "dataset_not_found", "dataset_id"),
    "no dataset": ({"dataset_id": None}, 422, "dataset_required", "dataset_id"),
    "private address": ({"dataset_id": None, "dataset_url": "https://10.0.0.1/a.zip"}, 422, "url_not_allowed", None),
    "other scheme": ({"dataset_id": None, "dataset_url": "file:///etc/passwd"}, 422, "url_not_allowed", None),
    "typo of a method": ({"method": {"type": "vanilla", "tau": 1}}, 422, "unknown_field", "method.tau"),
    "number or auto": ({"training": {"learning_rate": 0}}, 422, "invalid_request", "training.learning_rate"),
    "nothing of a union": ({"method": {"temperature": 0}}, 422, "invalid_request", "method"),
    "out of range": ({"validation_fraction": 2}, 422, "invalid_request", "validation_fraction"),
}


@pytest.mark.parametrize(("change", "status", "code", "param"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_job_is_refused_and_leaves_nothing(
    client: httpx.Client,
    sessions: SessionFactory,
    dataset_id: str,
    change: dict[str, object],
    status: int,
    code: str,
    param: str | None,
) -> None:
    with sessions.begin() as session:
        before = count_rows(session)

    answer = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"} | change)

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert param is None or problem["param"] == param
    with sessions.begin() as session:
        assert count_rows(session) == before


def test_resolved_spec_is_a_valid_body(client: httpx.Client, dataset_id: str) -> None:
    spec = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["spec"]

    assert client.post("/jobs", json=spec | {"dataset_id": dataset_id}).status_code == 202


def test_cancelled_job_is_terminal(client: httpx.Client, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]

    cancelled = client.post(f"/jobs/{job_id}/cancel")

    assert cancelled.status_code == 202
    assert (cancelled.json()["status"], cancelled.json()["terminal"]) == ("cancelled", True)
    assert client.post(f"/jobs/{job_id}/cancel").json()["code"] == "already_finished"


def test_paused_job_waits_for_resume(client: httpx.Client, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]

    paused = client.post(f"/jobs/{job_id}/pause")
    resumed = client.post(f"/jobs/{job_id}/resume")

    assert (paused.status_code, paused.json()["status"], paused.json()["queue"]) == (202, "paused", None)
    assert (resumed.status_code, resumed.json()["status"]) == (202, "queued")
    assert client.post(f"/jobs/{job_id}/resume").json()["code"] == "not_paused"


def test_running_job_that_is_paused_is_pausing(client: httpx.Client, sessions: SessionFactory, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]
    with sessions.begin() as session:
        claim_run(session)

    assert client.post(f"/jobs/{job_id}/pause").json()["status"] == "pausing"


def test_job_that_no_worker_could_run_is_refused(
    client: httpx.Client, sessions: SessionFactory, dataset_id: str
) -> None:
    with sessions.begin() as session:
        make_worker(session, gpus=2)
        before = count_rows(session)
    body = {"dataset_id": dataset_id, "backbone": "tiny"}

    refused = client.post("/jobs", json=body | {"gpus": 4})

    assert (refused.status_code, refused.json()["code"], refused.json()["param"]) == (422, "too_few_gpus", "gpus")
    with sessions.begin() as session:
        assert count_rows(session) == before
    assert client.post("/jobs", json=body | {"gpus": 2}).status_code == 202


def test_waiting_for_too_long_is_a_limit_of_the_job(
    client: httpx.Client, sessions: SessionFactory, dataset_id: str
) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny", "max_queue_seconds": 60}).json()[
        "id"
    ]
    with sessions.begin() as session:
        sweeps.fail_hopeless(session)
        assert client.get(f"/jobs/{job_id}").json()["status"] == "queued"
        run = session.scalars(select(Run).where(Run.kind == RunKind.TRAIN)).one()
        run.queued_at -= timedelta(seconds=61)
        session.flush()
        sweeps.fail_hopeless(session)

    job = client.get(f"/jobs/{job_id}").json()

    assert (job["status"], job["status_reason"]["code"]) == ("failed", "queued_too_long")


def test_running_job_shows_its_attempt(client: httpx.Client, sessions: SessionFactory, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]
    with sessions.begin() as session:
        claim_run(session)

    job = client.get(f"/jobs/{job_id}").json()

    assert (job["status"], job["queue"]) == ("running", None)
    assert [attempt["number"] for attempt in job["attempts"]] == [1]


@pytest.mark.parametrize("path", ["/jobs/{job_id}", "/jobs", "/jobs/{job_id}/events"])
def test_crowd_of_pollers_is_answered(client: httpx.Client, dataset_id: str, path: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]
    url = path.format(job_id=job_id)

    with ThreadPoolExecutor(100) as pool:  # a slow machine needs more than a client's usual patience for a hundred
        answers = list(pool.map(lambda _: client.get(url, timeout=60).status_code, range(300)))

    assert set(answers) == {200}


def test_unfinished_job_cannot_be_deleted(client: httpx.Client, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]

    assert client.delete(f"/jobs/{job_id}").status_code == 409


def test_deleted_job_is_gone(client: httpx.Client, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]
    client.post(f"/jobs/{job_id}/cancel")

    assert client.delete(f"/jobs/{job_id}").status_code == 204

    assert client.get(f"/jobs/{job_id}").status_code == 404
    assert client.get("/jobs").json()["data"] == []


def test_dataset_of_an_unfinished_job_cannot_be_deleted(client: httpx.Client, dataset_id: str) -> None:
    client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"})

    assert client.delete(f"/datasets/{dataset_id}").json()["code"] == "dataset_in_use"


def test_pages_show_every_job_once(client: httpx.Client, sessions: SessionFactory, dataset_id: str) -> None:
    with sessions.begin() as session:
        dataset = session.get_one(Dataset, dataset_id)
        expected = [make_job(session, project_id=dataset.project_id, dataset=dataset).id for _ in range(5)]

    seen: list[str] = []
    page = client.get("/jobs", params={"limit": 2}).json()
    seen += [job["id"] for job in page["data"]]
    while page["has_more"]:
        page = client.get("/jobs", params={"limit": 2, "after": page["last_id"]}).json()
        seen += [job["id"] for job in page["data"]]

    assert seen == sorted(expected, reverse=True)


def test_events_page_forward(client: httpx.Client, sessions: SessionFactory, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]
    with sessions.begin() as session:
        claims.note(session, claim_run(session), "hello", "words")

    first = client.get(f"/jobs/{job_id}/events", params={"limit": 2}).json()
    rest = client.get(f"/jobs/{job_id}/events", params={"after": first["last_id"]}).json()

    assert [event["type"] for event in first["data"]] == ["queued", "started"]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [event["type"] for event in rest["data"]] == ["hello"]


def test_another_projects_ids_are_not_found(client: httpx.Client, stranger: httpx.Client, dataset_id: str) -> None:
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]

    for path in (f"/jobs/{job_id}", f"/datasets/{dataset_id}", f"/jobs/{job_id}/events", f"/jobs/{job_id}/metrics"):
        assert stranger.get(path).status_code == 404
        assert client.get(path).status_code == 200
    assert stranger.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).status_code == 404
    assert stranger.delete(f"/datasets/{dataset_id}").status_code == 404
    assert stranger.get("/jobs").json()["data"] == []
