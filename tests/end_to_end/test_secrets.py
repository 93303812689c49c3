"""Canaries in keys, URLs and signatures are nowhere to be read but where they have to be."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select

from core.db.session import SessionFactory, make_engine, make_session_factory
from core.db.tables import Job, Model
from core.ids import make_id
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import model_prefix
from tests.conditions import wait_until
from tests.end_to_end.leaks import Places, find_leaks, list_passwords, read_broker, read_logs, read_rows
from tests.end_to_end.service import Json, Service, User

SIGNATURE = "canary-signature-8b1f"
PASSWORD = "canary-password-77aa"
WRONG_KEY = "bt_canary-wrong-key-0c3d"
IN_QUERY = "canary-query-51e0"
JOB = {"method": {"type": "vanilla"}, "training": {"epochs": 1, "image_size": 64}}


class Story(NamedTuple):
    """What a user did, and all that was answered."""

    secrets: list[str]
    answers: dict[str, str]
    dataset: Json
    failed_job: Json
    last_request_id: str


@pytest.fixture(scope="module")
def service_sessions(service_settings: Settings) -> Iterator[SessionFactory]:
    engine = make_engine(service_settings.database_url.get_secret_value())
    yield make_session_factory(engine)
    engine.dispose()


@pytest.fixture(scope="module")
def story(user: User, web: str, service_settings: Settings, service_sessions: SessionFactory) -> Story:
    answers: dict[str, str] = {}

    def note(answer: httpx.Response) -> httpx.Response:
        answers[f"answer {len(answers)} to {answer.request.method} {answer.request.url.path}"] = answer.text
        return answer

    url = f"{web}/cells.zip?X-Amz-Signature={SIGNATURE}"
    dataset_id = note(user.client.post("/datasets", json={"name": "cells", "url": url})).json()["id"]
    job_body = JOB | {"dataset_url": f"{web}/nothing.zip?sig={SIGNATURE}#{SIGNATURE}"}
    job_id = note(user.client.post("/jobs", json=job_body)).json()["id"]
    for refused in (
        web.replace("//", f"//user:{PASSWORD}@") + "/cells.zip",
        f"https://exa mple/?sig={SIGNATURE}",
        f"ftp://example.com/?sig={SIGNATURE}",
    ):
        note(user.client.post("/datasets", json={"name": "x", "url": refused}))
        note(user.client.post("/jobs", json=JOB | {"dataset_url": refused}))
    for header in (f"Bearer {WRONG_KEY}", f"Basic {WRONG_KEY}", WRONG_KEY):
        note(user.client.get("/jobs", headers={"Authorization": header}))
    for path in ("/jobs", "/nowhere", "/readyz"):
        note(user.client.get(path, params={"api_key": IN_QUERY, "limit": 1}))
    secret = user.client.post("/keys", json={"name": "canary", "scopes": ["read"]}).json()["secret"]
    note(user.client.get("/jobs", headers={"Authorization": f"Bearer {secret}"}))
    note(user.client.delete("/jobs/job_x", headers={"Authorization": f"Bearer {secret}"}))
    signed = fetch_signed(user, service_settings, service_sessions, dataset_id)

    dataset = user.wait_for_dataset(dataset_id)
    failed_job = user.wait_for_end(job_id)
    last = [note(user.client.get(path)) for path in (f"/jobs/{job_id}/events", "/datasets", "/jobs", "/metrics")][-1]
    secrets = [SIGNATURE, PASSWORD, WRONG_KEY, IN_QUERY, secret, signed, *list_passwords(service_settings)]
    return Story(secrets, answers, dataset, failed_job, last.headers["x-request-id"])


def fetch_signed(user: User, settings: Settings, sessions: SessionFactory, dataset_id: str) -> str:
    """The signature of a URL that the API made, after it was used, and once more after its object had gone."""
    storage = Storage.from_settings(settings)
    model_id = make_id("model")
    with sessions.begin() as session:
        job = session.scalars(select(Job).order_by(Job.id.desc()).limit(1)).one()
        size = {"weights_size_bytes": 1, "card_size_bytes": 1, "weights_sha256": "a" * 64, "card_sha256": "a" * 64}
        session.add(Model(id=model_id, project_id=job.project_id, job_id=job.id, attempt=1, card={}, **size))
    storage.put_bytes(model_prefix(model_id) + "model.json", b"{}")
    url = next(
        part["url"]
        for part in user.client.get(f"/models/{model_id}/download").json()["parts"]
        if part["name"] == "model.json"
    )
    assert httpx.get(url, trust_env=False).text == "{}"
    user.client.delete(f"/models/{model_id}")
    return parse_qs(urlsplit(str(url)).query)["X-Amz-Signature"][0]


@pytest.fixture(scope="module")
def places(story: Story, service: Service, service_settings: Settings) -> Places:
    processes = (service.api, service.worker, service.importer)
    wait_until(lambda: story.last_request_id in service.api.log_path.read_text(), seconds=10)
    return (
        story.answers
        | {"dataset": str(story.dataset), "job": str(story.failed_job)}
        | read_rows(service_settings)
        | read_logs(process.log_path for process in processes)
        | read_broker(service_settings)
    )


def test_story_went_as_it_should(story: Story) -> None:
    assert story.dataset["status"] == "ready", story.dataset
    assert story.failed_job["status_reason"]["code"] == "dataset_failed"


def test_no_secret_is_in_any_row_log_event_metric_or_answer(story: Story, places: Places) -> None:
    assert find_leaks(places, story.secrets) == set()


def test_url_is_shown_without_its_signature(story: Story, web: str) -> None:
    assert story.dataset["source_url"] == f"{web}/cells.zip?…"


def test_search_finds_what_is_there(story: Story, places: Places) -> None:
    """The control: what is no secret is found in each kind of place."""
    found = {name for name, _ in find_leaks(places, [story.dataset["id"]])}
    assert {"dataset", "rows of datasets", "log test-imports"} <= found
    assert [name for name in found if name.endswith("GET /datasets")]
    assert ("log test-api", "/nowhere") in find_leaks(places, ["/nowhere"])
    assert ("log test-train", "worker_id") in find_leaks(places, ["worker_id"])
    assert [name for name, _ in find_leaks(places, ["bitune_queued_runs"]) if name.endswith("GET /metrics")]
    assert [name for name, _ in find_leaks(places, ["could not be imported"]) if name.endswith("/events")]
    assert [name for name in places if name.startswith("broker bitune:rate:")]
