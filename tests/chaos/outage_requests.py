"""What users ask for while a server is away, and which answers are right."""

import threading
import time
from collections.abc import Iterable
from typing import Literal, NamedTuple

import httpx

from tests.chaos.client import Client, Json
from tests.chaos.load import VARIANTS
from tests.chaos.stack import BACKBONE

ServerName = Literal["PostgreSQL", "broker", "store"]

ASK_SECONDS = 0.5
CREATE_SECONDS = 15.0  # what is created is work for the workers
SHORT_EPOCHS = 1
DATABASE: frozenset[ServerName] = frozenset({"PostgreSQL"})
DATABASE_AND_STORE: frozenset[ServerName] = frozenset({"PostgreSQL", "store"})
OK = frozenset({200})
ACCEPTED = frozenset({202})
UNAVAILABLE = frozenset({503})


class Question(NamedTuple):
    """Needs some servers: one of `usual` is right while they are there, a 503 while one of them is not."""

    method: str
    path: str
    needs: frozenset[ServerName]
    usual: frozenset[int] = OK
    every_seconds: float = ASK_SECONDS
    options: Json = {}  # httpx's

    def find_right(self, away: ServerName) -> frozenset[int]:
        return UNAVAILABLE if away in self.needs else self.usual


class Subjects(NamedTuple):
    """What the questions are about. The model has been loaded before, the job has left a log and metrics."""

    dataset_id: str
    model_id: str
    job_id: str
    unwanted_job_id: str  # is cancelled
    archive: bytes
    picture: bytes


class Answer(NamedTuple):
    status: int  # 0: none at all
    seconds: float
    has_retry_after: bool
    accepted_id: str | None


class Asker:
    """One user with one question; the answers are its thread's alone until that has ended."""

    def __init__(self, question: Question, client: Client) -> None:
        self.question = question
        self.answers: list[Answer] = []
        self._client = client

    def ask_until(self, stop_at: float, ended: threading.Event) -> None:
        """At least once."""
        while True:
            self.answers.append(self._ask())
            if ended.wait(self.question.every_seconds) or time.monotonic() >= stop_at:
                return

    def list_accepted(self) -> list[str]:
        return [answer.accepted_id for answer in self.answers if answer.accepted_id is not None]

    def _ask(self) -> Answer:
        question = self.question
        started = time.monotonic()
        response = self._client.ask(question.method, question.path, **question.options)
        seconds = time.monotonic() - started
        if response is None:
            return Answer(0, seconds, has_retry_after=False, accepted_id=None)
        accepted = response.json()["id"] if response.status_code == httpx.codes.ACCEPTED else None
        return Answer(response.status_code, seconds, "Retry-After" in response.headers, accepted)


def list_questions(subjects: Subjects) -> Iterable[Question]:
    job = f"/jobs/{subjects.job_id}"
    return (
        Question("GET", "/livez", frozenset()),
        Question("GET", "/readyz", DATABASE_AND_STORE),
        Question("GET", "/jobs", DATABASE),
        Question("GET", job, DATABASE),
        Question("GET", f"{job}/log", DATABASE_AND_STORE),
        Question("GET", f"{job}/metrics", DATABASE_AND_STORE),
        make_predict(subjects),
        _post_job(subjects),
        _post_dataset(subjects),
        Question("POST", f"/jobs/{subjects.unwanted_job_id}/cancel", DATABASE, usual=frozenset({202, 409})),
    )


def make_spec(dataset_id: str, *, epochs: int) -> Json:
    training = {"epochs": epochs, "batch_size": 16, "image_size": 64}
    return VARIANTS["vanilla-0"] | {"dataset_id": dataset_id, "backbone": BACKBONE, "training": training}


def make_predict(subjects: Subjects) -> Question:
    options = {"content": subjects.picture, "headers": {"Content-Type": "image/png"}}
    return Question("POST", f"/predict?model={subjects.model_id}", DATABASE, options=options)


def _post_job(subjects: Subjects) -> Question:
    options = {"json": make_spec(subjects.dataset_id, epochs=SHORT_EPOCHS)}
    return Question("POST", "/jobs", DATABASE, usual=ACCEPTED, every_seconds=CREATE_SECONDS, options=options)


def _post_dataset(subjects: Subjects) -> Question:
    options = {"files": {"file": ("cells.zip", subjects.archive)}, "data": {"name": "cells"}}
    return Question(
        "POST", "/datasets", DATABASE_AND_STORE, usual=ACCEPTED, every_seconds=CREATE_SECONDS, options=options
    )
