"""Filters of lists, and parameters that nobody knows."""

import httpx
import pytest

from core.db.session import SessionFactory
from core.db.tables import Dataset
from core.keys import ensure_project
from core.runs import lifecycle
from tests.factories import claim_run, make_dataset, make_job

STATUSES = ("queued", "running", "pausing", "paused", "cancelling", "succeeded", "failed", "cancelled")


@pytest.fixture
def dataset(sessions: SessionFactory, client: httpx.Client) -> Dataset:
    with sessions.begin() as session:
        return make_dataset(session, project_id=ensure_project(session))


def list_ids(client: httpx.Client, path: str, **params: str) -> list[str]:
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


def test_jobs_are_listed_by_shown_status(client: httpx.Client, sessions: SessionFactory, dataset: Dataset) -> None:
    made: dict[str, str] = {}
    with sessions.begin() as session:
        for status in ("running", "pausing", "cancelling", "paused", "queued"):
            job = make_job(session, project_id=dataset.project_id, dataset=dataset)
            made[status] = job.id
            if status in {"running", "pausing", "cancelling"}:
                claim_run(session)
            if status in {"pausing", "paused"}:
                lifecycle.request_pause(session, job.run_id)
            if status == "cancelling":
                lifecycle.request_cancel(session, job.run_id)

    found = {status: list_ids(client, "/jobs", status=status) for status in STATUSES}

    assert found == {status: [made[status]] if status in made else [] for status in STATUSES}
    assert all(client.get(f"/jobs/{job_id}").json()["status"] == status for status, job_id in made.items())


def test_jobs_are_listed_by_name_and_labels(client: httpx.Client, sessions: SessionFactory, dataset: Dataset) -> None:
    with sessions.begin() as session:
        ids = []
        for name, team in (("a", "pv"), ("b", "pv"), ("b", "lab")):
            job = make_job(session, project_id=dataset.project_id, dataset=dataset)
            job.name, job.details = name, {"team": team, "line": "3"}
            ids.append(job.id)

    assert list_ids(client, "/jobs", name="b", order="asc") == ids[1:]
    assert list_ids(client, "/jobs", **{"metadata[team]": "pv"}, order="asc") == ids[:2]
    assert list_ids(client, "/jobs", **{"metadata[team]": "pv", "metadata[line]": "3"}, name="b") == [ids[1]]
    assert list_ids(client, "/jobs", **{"metadata[team]": "nobody"}) == []


def test_datasets_are_listed_by_status_and_name(
    client: httpx.Client, sessions: SessionFactory, dataset: Dataset
) -> None:
    with sessions.begin() as session:
        waiting = make_dataset(session, project_id=dataset.project_id, ready=False)
        waiting.name = "waits"

    assert list_ids(client, "/datasets", status="ready") == [dataset.id]
    assert list_ids(client, "/datasets", status="importing") == [waiting.id]
    assert list_ids(client, "/datasets", status="failed") == []
    assert list_ids(client, "/datasets", name="waits") == [waiting.id]


@pytest.mark.parametrize(
    ("path", "name"), [("/jobs", "stauts"), ("/datasets", "job_id"), ("/models", "metadata[a]"), ("/livez", "x")]
)
def test_unknown_parameter_is_refused(client: httpx.Client, path: str, name: str) -> None:
    answer = client.get(path, params={name: "failed"})

    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (422, "unknown_parameter", name)


@pytest.mark.parametrize("params", [{"status": "done"}, {"metadata[a\0]": "b"}, {"limit": "0"}, {"order": "up"}])
def test_invalid_filter_is_refused(client: httpx.Client, params: dict[str, str]) -> None:
    assert client.get("/jobs", params=params).status_code == 422
