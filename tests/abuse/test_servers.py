import pytest

from tests.abuse import servers
from tests.abuse.verdict import Verdict

PATIENCE = 0.05  # of the limits' own lengths
MAX_SECONDS = 30.0 * PATIENCE + 5.0  # the longest limit, and what a busy machine needs
MAX_GROWTH_MB = 50.0


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return list(servers.run(patience=PATIENCE))


def test_every_server_is_judged_right(verdicts: list[Verdict]) -> None:
    wrong = [verdict for verdict in verdicts if verdict.got != verdict.expected]

    assert wrong == []


def test_no_server_holds_a_fetch_or_fills_the_memory(verdicts: list[Verdict]) -> None:
    assert max(verdict.seconds for verdict in verdicts) < MAX_SECONDS
    assert max(verdict.rss_mb for verdict in verdicts) < MAX_GROWTH_MB


def test_unprotected_fetch_takes_what_it_gets() -> None:
    dangerous = {
        "drip of a byte at a time": "accept",
        "certificate of another name": "accept",
        "certificate of an unknown authority": "accept",
        "redirect to loopback": "leak",
        "redirect to an inner name": "leak",
    }

    verdicts = servers.run(patience=PATIENCE, unprotected=True, only=frozenset(dangerous))

    assert {verdict.name: verdict.got for verdict in verdicts} == dangerous
