"""What a client hears when its project has all that it may have."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import httpx
import pytest
from sqlalchemy import func, select

from core.db.session import SessionFactory
from core.db.tables import Dataset, Upload
from core.keys import ensure_project
from core.quotas import QuotaName, read_usage, set_quota
from tests.factories import make_backbone, make_dataset, make_worker

ARCHIVE = b"PK\x03\x04" + b"x" * 1000
Limit = Callable[[QuotaName, int], None]


@pytest.fixture
def limit(sessions: SessionFactory) -> Limit:
    def limit(name: QuotaName, value: int) -> None:
        with sessions.begin() as session:
            set_quota(session, ensure_project(session), name, value)

    return limit


@pytest.fixture
def dataset_id(sessions: SessionFactory) -> str:
    with sessions.begin() as session:
        make_backbone(session)
        return make_dataset(session, project_id=ensure_project(session)).id


def upload(client: httpx.Client, headers: dict[str, str] | None = None) -> httpx.Response:
    files = {"file": ("a.zip", BytesIO(ARCHIVE))}
    return client.post("/datasets", files=files, data={"name": "a"}, headers=headers)


def post_url(client: httpx.Client) -> httpx.Response:
    return client.post("/datasets", json={"name": "a", "url": "https://example.com/a.zip"})


def assert_refused(answer: httpx.Response, name: QuotaName, *, retryable: bool) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (429, f"quota_{name}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert problem["retryable"] is retryable
    assert problem["hint"]


def test_dataset_too_many_is_refused_by_every_way_in(client: httpx.Client, dataset_id: str, limit: Limit) -> None:
    limit(QuotaName.DATASETS, 1)

    assert_refused(upload(client), QuotaName.DATASETS, retryable=False)
    assert_refused(post_url(client), QuotaName.DATASETS, retryable=False)
    job = client.post("/jobs", json={"dataset_url": "https://example.com/a.zip", "backbone": "tiny"})
    assert_refused(job, QuotaName.DATASETS, retryable=False)


def test_job_too_many_is_refused(client: httpx.Client, dataset_id: str, limit: Limit) -> None:
    limit(QuotaName.QUEUED_JOBS, 1)
    body = {"dataset_id": dataset_id, "backbone": "tiny"}
    assert client.post("/jobs", json=body).status_code == 202

    assert_refused(client.post("/jobs", json=body), QuotaName.QUEUED_JOBS, retryable=True)


def test_job_says_that_its_project_runs_as_many_as_it_may(
    client: httpx.Client, dataset_id: str, limit: Limit, sessions: SessionFactory
) -> None:
    with sessions.begin() as session:
        make_worker(session)
    limit(QuotaName.RUNNING_JOBS, 0)
    job_id = client.post("/jobs", json={"dataset_id": dataset_id, "backbone": "tiny"}).json()["id"]

    reason = client.get(f"/jobs/{job_id}").json()["queue"]["reason"]

    assert reason == "the project runs as many jobs at once as it may (0)"


def test_50_posts_at_once_leave_as_many_datasets_as_allowed(
    client: httpx.Client, sessions: SessionFactory, limit: Limit
) -> None:
    limit(QuotaName.DATASETS, 5)

    with ThreadPoolExecutor(50) as pool:
        statuses = list(pool.map(lambda _: post_url(client).status_code, range(50)))

    assert (statuses.count(202), statuses.count(429)) == (5, 45)
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Dataset)) == 5


@pytest.mark.parametrize(("name", "value"), [(QuotaName.DATASETS, 1), (QuotaName.STORED_BYTES, 1500)])
def test_retry_of_what_filled_the_quota_gets_its_answer(
    client: httpx.Client, limit: Limit, name: QuotaName, value: int
) -> None:
    limit(name, value)
    first, again = (upload(client, {"Idempotency-Key": "a"}) for _ in range(2))

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["id"] == first.json()["id"]
    assert_refused(upload(client, {"Idempotency-Key": "b"}), name, retryable=False)


def test_bytes_too_many_are_refused_before_they_come(client: httpx.Client, limit: Limit) -> None:
    limit(QuotaName.STORED_BYTES, 500)

    assert_refused(upload(client), QuotaName.STORED_BYTES, retryable=False)


def test_bytes_that_nobody_announced_are_refused_once_they_are_there(
    client: httpx.Client, sessions: SessionFactory, limit: Limit
) -> None:
    limit(QuotaName.STORED_BYTES, 500)
    whole = client.build_request("POST", "/datasets", files={"file": ("a.zip", ARCHIVE)}, data={"name": "a"})
    body = whole.read()

    answer = client.post("/datasets", content=iter([body]), headers={"Content-Type": whole.headers["content-type"]})

    assert_refused(answer, QuotaName.STORED_BYTES, retryable=False)
    with sessions() as session:
        assert session.scalars(select(Upload)).all() == []


def test_upload_too_many_at_once_is_refused(client: httpx.Client, sessions: SessionFactory, limit: Limit) -> None:
    limit(QuotaName.UPLOADS_AT_ONCE, 0)

    assert_refused(upload(client), QuotaName.UPLOADS_AT_ONCE, retryable=True)
    with sessions.begin() as session:
        assert read_usage(session, ensure_project(session)).uploads_at_once == 0
