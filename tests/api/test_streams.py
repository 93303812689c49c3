"""Streams and long polls: what changes is told, once each, to whoever waits."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import select

from core.db.session import SessionFactory
from core.db.tables import Run
from core.keys import ensure_project
from core.runs import claims, lifecycle
from core.runs.types import Claim
from tests.conditions import wait_until
from tests.factories import claim_run, make_dataset, make_job

STREAM = {"Accept": "text/event-stream"}
NOTES = 120
WRITERS = 3


@pytest.fixture
def job_id(sessions: SessionFactory, client: httpx.Client) -> str:
    with sessions.begin() as session:
        dataset = make_dataset(session, project_id=ensure_project(session))
        return make_job(session, project_id=dataset.project_id, dataset=dataset).id


def start(sessions: SessionFactory) -> Claim:
    with sessions.begin() as session:
        return claim_run(session)


def note(sessions: SessionFactory, held: Claim, text: str) -> None:
    with sessions.begin() as session:
        claims.note(session, held, "note", text)


def succeed(sessions: SessionFactory, held: Claim) -> None:
    with sessions.begin() as session:
        claims.succeed(session, held)


def read_ids(lines: Iterator[str]) -> Iterator[int]:
    for line in lines:
        if line.startswith("data:"):
            yield int(json.loads(line.removeprefix("data:"))["id"])


@contextmanager
def waiting(client: httpx.Client, url: str, *, seconds: float) -> Iterator[list[tuple[httpx.Response, float]]]:
    """A long poll beside the block; its answer and how long it took are there after it."""
    answers: list[tuple[httpx.Response, float]] = []

    def ask() -> None:
        began_at = time.monotonic()
        answer = client.get(url, params={"wait": seconds}, timeout=70)
        answers.append((answer, time.monotonic() - began_at))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        thread.join()


def test_long_poll_is_answered_by_a_change(client: httpx.Client, sessions: SessionFactory, job_id: str) -> None:
    with waiting(client, f"/jobs/{job_id}", seconds=30) as answers:
        threading.Event().wait(1.0)  # so that the poll is there first
        start(sessions)

    ((answer, seconds),) = answers
    assert answer.json()["status"] == "running"
    assert 1.0 < seconds < 10.0


def test_long_poll_without_a_change_is_answered_in_time(client: httpx.Client, job_id: str) -> None:
    with waiting(client, f"/jobs/{job_id}", seconds=1.5) as answers:
        pass

    ((answer, seconds),) = answers
    assert answer.json()["status"] == "queued"
    assert 1.5 <= seconds < 8.0


def test_long_poll_of_a_job_that_has_ended_does_not_wait(
    client: httpx.Client, sessions: SessionFactory, job_id: str
) -> None:
    succeed(sessions, start(sessions))

    with waiting(client, f"/jobs/{job_id}", seconds=30) as answers:
        pass

    ((answer, seconds),) = answers
    assert answer.json()["status"] == "succeeded"
    assert seconds < 5.0


@pytest.mark.parametrize("wait", [-1, 61, "soon"])
def test_wait_has_limits(client: httpx.Client, job_id: str, wait: object) -> None:
    assert client.get(f"/jobs/{job_id}", params={"wait": str(wait)}).status_code == 422


def test_stream_tells_all_and_ends_with_the_job(client: httpx.Client, sessions: SessionFactory, job_id: str) -> None:
    with client.stream("GET", f"/jobs/{job_id}/events", headers=STREAM, timeout=30) as answer:
        lines = answer.iter_lines()
        ids = read_ids(lines)
        assert next(ids) == 1
        held = start(sessions)
        assert next(ids) == 2
        succeed(sessions, held)
        assert list(ids) == [3]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [event["id"] for event in client.get(f"/jobs/{job_id}/events").json()["data"]] == [1, 2, 3]


def test_broken_streams_go_on_without_a_gap_or_a_double(
    client: httpx.Client, sessions: SessionFactory, job_id: str
) -> None:
    held = start(sessions)

    def write(writer: int) -> None:
        for number in range(NOTES // WRITERS):
            note(sessions, held, f"{writer}: {number}")

    seen: list[int] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pool.submit(write, writer) for writer in range(WRITERS)]
        while len(seen) < NOTES + 2:
            headers = STREAM | {"Last-Event-ID": str(seen[-1] if seen else 0)}
            with client.stream("GET", f"/jobs/{job_id}/events", headers=headers, timeout=30) as answer:
                ids = read_ids(answer.iter_lines())
                seen += [next(ids) for _ in range(min(7, NOTES + 2 - len(seen)))]
        for future in written:
            future.result()

    assert seen == list(range(1, NOTES + 3))


def test_revoked_key_ends_its_streams_at_once(client: httpx.Client, sessions: SessionFactory, job_id: str) -> None:
    made = client.post("/keys", json={"name": "reader", "scopes": ["read"]}).json()
    start(sessions)
    headers = STREAM | {"Authorization": f"Bearer {made['secret']}"}
    with client.stream("GET", f"/jobs/{job_id}/events", headers=headers, timeout=30) as answer:
        ids = read_ids(answer.iter_lines())
        assert [next(ids), next(ids)] == [1, 2]
        client.delete(f"/keys/{made['id']}")
        revoked_at = time.monotonic()

        assert list(ids) == []

    assert time.monotonic() - revoked_at < 10.0


def test_revoked_key_ends_its_long_poll(client: httpx.Client, job_id: str) -> None:
    made = client.post("/keys", json={"name": "reader", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    with (
        httpx.Client(base_url=client.base_url, headers=headers, trust_env=False) as reader,
        waiting(reader, f"/jobs/{job_id}", seconds=30) as answers,
    ):
        threading.Event().wait(1.0)  # so that the poll is there first
        client.delete(f"/keys/{made['id']}")

    ((answer, seconds),) = answers
    assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")
    assert seconds < 10.0


def test_stream_from_beyond_the_last_event_ends_with_the_job(
    client: httpx.Client, sessions: SessionFactory, job_id: str
) -> None:
    held = start(sessions)
    headers = STREAM | {"Last-Event-ID": "1000"}
    with client.stream("GET", f"/jobs/{job_id}/events", headers=headers, timeout=10) as answer:
        ids = read_ids(answer.iter_lines())
        succeed(sessions, held)

        assert list(ids) == [3]


def test_stream_of_a_foreign_job_is_not_found(stranger: httpx.Client, job_id: str) -> None:
    assert stranger.get(f"/jobs/{job_id}/events", headers=STREAM).status_code == 404


def test_waiting_crowd_leaves_threads_to_others(client: httpx.Client, sessions: SessionFactory, job_id: str) -> None:
    def wait(_: int) -> int:
        with httpx.Client(base_url=client.base_url, headers=client.headers, trust_env=False, timeout=70) as own:
            return int(own.get(f"/jobs/{job_id}", params={"wait": 60}).status_code)

    with ThreadPoolExecutor(100) as pool:
        waits = [pool.submit(wait, number) for number in range(100)]
        for _ in range(20):
            assert client.get("/jobs", timeout=5).status_code == 200
        assert not any(future.done() for future in waits)
        with sessions.begin() as session:
            lifecycle.request_cancel(session, session.scalars(select(Run.id).where(Run.kind == "train")).one())
        wait_until(lambda: all(future.done() for future in waits), seconds=20)

    assert {future.result() for future in waits} == {200}
