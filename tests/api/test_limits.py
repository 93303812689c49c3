"""The token bucket on the real broker."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from api.limits import BURST_SECONDS, PATIENCE_SECONDS, RateLimitedError, RateLimiter
from cli.ports import LOOPBACK, find_free_port
from core.db.session import SessionFactory
from core.errors import UnavailableError
from core.ids import make_id
from core.keys import ensure_project
from core.quotas import QuotaName, set_quota
from core.settings import Settings
from tests.tarpit import open_tarpit


@pytest.fixture
def project_id() -> str:
    return make_id("proj")


def is_let_through(limiter: RateLimiter, project_id: str, per_second: int) -> bool:
    try:
        limiter.require(project_id, per_second, is_upload=False)
    except RateLimitedError:
        return False
    return True


def test_a_burst_and_then_the_rate_is_let_through(limiter: RateLimiter, project_id: str) -> None:
    began_at = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: is_let_through(limiter, project_id, 20), range(300)))
    took_seconds = time.monotonic() - began_at

    burst = 20 * BURST_SECONDS
    assert burst <= sum(answers) <= burst + 20 * took_seconds + 1


def test_bucket_fills_again(limiter: RateLimiter, project_id: str) -> None:
    while is_let_through(limiter, project_id, 50):
        pass
    with pytest.raises(RateLimitedError) as caught:
        limiter.require(project_id, 1, is_upload=False)
    assert caught.value.retry_after_seconds == 1

    deadline = time.monotonic() + 5
    while not is_let_through(limiter, project_id, 50):
        assert time.monotonic() < deadline


def test_processes_share_the_bucket(settings: Settings, limiter: RateLimiter, project_id: str) -> None:
    other = RateLimiter(settings.broker_url.get_secret_value())
    while is_let_through(limiter, project_id, 1):
        pass

    assert not is_let_through(other, project_id, 1)
    other.close()


def test_lost_connections_do_not_open_the_bucket(settings: Settings, limiter: RateLimiter, project_id: str) -> None:
    while is_let_through(limiter, project_id, 1):
        pass
    with redis.Redis.from_url(settings.broker_url.get_secret_value()) as broker:
        broker.client_kill_filter(_type="normal", skipme=True)

    assert not is_let_through(limiter, project_id, 1)


def test_projects_do_not_share_the_bucket(limiter: RateLimiter, project_id: str) -> None:
    while is_let_through(limiter, project_id, 1):
        pass

    assert is_let_through(limiter, make_id("proj"), 1)


def test_no_limit_asks_nobody(project_id: str) -> None:
    RateLimiter(f"redis://{LOOPBACK}:{find_free_port(set())}/0").require(project_id, None, is_upload=True)


def assert_open_for_reads_alone(limiter: RateLimiter, project_id: str) -> None:
    limiter.require(project_id, 1, is_upload=False)
    with pytest.raises(UnavailableError) as caught:
        limiter.require(project_id, 1, is_upload=True)
    assert caught.value.code == "limits_unavailable"
    limiter.close()


def test_dead_broker_is_open_for_reads_and_closed_for_uploads(project_id: str) -> None:
    assert_open_for_reads_alone(RateLimiter(f"redis://{LOOPBACK}:{find_free_port(set())}/0"), project_id)


def test_hanging_broker_costs_one_time_out(project_id: str) -> None:
    with open_tarpit() as port:
        began_at = time.monotonic()
        assert_open_for_reads_alone(RateLimiter(f"redis://{LOOPBACK}:{port}/0"), project_id)

        assert time.monotonic() - began_at < 2 * PATIENCE_SECONDS + 0.5


@pytest.fixture
def slow_project(sessions: SessionFactory) -> None:
    """The client's: one request a second."""
    with sessions.begin() as session:
        set_quota(session, ensure_project(session), QuotaName.REQUESTS_PER_SECOND, 1)


def test_request_too_many_is_429_and_says_when_to_come_back(client: httpx.Client, slow_project: None) -> None:
    answers = [client.get("/jobs") for _ in range(BURST_SECONDS + 5)]

    assert answers[0].status_code == 200
    refused = answers[-1]
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert (problem["code"], problem["retryable"]) == ("quota_requests_per_second", True)
    assert problem["hint"]


def test_wrong_key_empties_nobodys_bucket(client: httpx.Client, slow_project: None, api_url: str) -> None:
    wrong = {"Authorization": "Bearer bt_wrong"}
    answers = [httpx.get(f"{api_url}/jobs", headers=wrong, trust_env=False) for _ in range(BURST_SECONDS + 5)]

    assert {answer.status_code for answer in answers} == {401}
    assert client.get("/jobs").status_code == 200
