"""An outage is good only when every request got the right answer in time and nothing was lost."""

from collections.abc import Iterator

import pytest

from tests.chaos.client import Client
from tests.chaos.outage_report import Outcome
from tests.chaos.outage_requests import Answer, Asker, Question, ServerName, Subjects, list_questions

SUBJECTS = Subjects("ds_1", "job_0", "job_1", "job_2", archive=b"", picture=b"")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client("http://127.0.0.1:1", "bt_nobody") as client:
        yield client


def make_outcome(client: Client, server: ServerName = "store") -> Outcome:
    """Everything is answered rightly."""
    askers = [Asker(question, client) for question in list_questions(SUBJECTS)]
    for asker in askers:
        asker.answers.append(make_answer(min(asker.question.find_right(server))))
    return Outcome(server, "killed", askers=askers, attempts=1)


def make_answer(status: int, *, seconds: float = 0.1, has_retry_after: bool = True) -> Answer:
    return Answer(status, seconds, has_retry_after, accepted_id=None)


def find_asker(outcome: Outcome, path: str) -> Asker:
    return next(asker for asker in outcome.askers if asker.question.path == path)


@pytest.mark.parametrize("server", ["PostgreSQL", "broker", "store"])
def test_right_answers_are_good(client: Client, server: ServerName) -> None:
    assert make_outcome(client, server).is_good()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/jobs", "/datasets", "/predict?model=job_0"])
def test_503_without_the_broker_is_wrong(client: Client, path: str) -> None:
    outcome = make_outcome(client, "broker")

    find_asker(outcome, path).answers.append(make_answer(503))

    assert not outcome.is_good()
    assert outcome.count_wrong().total() == 1


def test_200_without_the_database_is_wrong(client: Client) -> None:
    outcome = make_outcome(client, "PostgreSQL")

    find_asker(outcome, "/jobs").answers.append(make_answer(200))

    assert not outcome.is_good()


@pytest.mark.parametrize(
    "answer",
    [
        make_answer(0),
        make_answer(500),
        make_answer(200, seconds=10.1),
    ],
)
def test_wrong_or_late_answer_is_not_good(client: Client, answer: Answer) -> None:
    outcome = make_outcome(client)

    find_asker(outcome, "/livez").answers.append(answer)

    assert not outcome.is_good()


def test_503_needs_retry_after(client: Client) -> None:
    outcome = make_outcome(client)

    find_asker(outcome, "/readyz").answers.append(make_answer(503, has_retry_after=False))

    assert not outcome.is_good()


def test_question_that_nobody_asked_is_not_good(client: Client) -> None:
    outcome = make_outcome(client)

    find_asker(outcome, "/livez").answers.clear()

    assert not outcome.is_good()


def test_no_question_at_all_is_not_good() -> None:
    assert not Outcome("store", "killed", attempts=1).is_good()


def test_second_attempt_is_not_good(client: Client) -> None:
    outcome = make_outcome(client)

    outcome.attempts = 2

    assert not outcome.is_good()


def test_lost_job_is_not_good(client: Client) -> None:
    outcome = make_outcome(client)

    outcome.strayed.append("job_1")

    assert not outcome.is_good()


def test_question_needs_its_servers() -> None:
    question = Question("GET", "/jobs/job_1/log", frozenset({"PostgreSQL", "store"}))

    assert [question.find_right(away) for away in ("PostgreSQL", "broker", "store")] == [{503}, {200}, {503}]
