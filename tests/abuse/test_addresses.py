import pytest

from tests.abuse import addresses
from tests.abuse.address_book import ADDRESSES, SPELLINGS
from tests.abuse.verdict import Verdict


@pytest.fixture(scope="module")
def verdicts() -> list[Verdict]:
    return list(addresses.run(connect_seconds=0.1))


def test_every_address_and_spelling_is_judged_right(verdicts: list[Verdict]) -> None:
    wrong = [verdict for verdict in verdicts if verdict.got != verdict.expected]

    assert wrong == []


def test_all_of_the_reference_are_there(verdicts: list[Verdict]) -> None:
    assert (len(ADDRESSES), len(SPELLINGS)) == (33, 7)
    assert sum(verdict.expected == "refuse" for verdict in verdicts) >= 140


def test_canary_hears_when_inner_hosts_are_listed() -> None:
    """And what no canary can stand for is dialled."""
    dangerous = {
        *("127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "169.254.169.254", "10.1.2.3", "64:ff9b::a9fe:a9fe"),  # noqa: S104
        *("'2130706433'", "'127.1'", "localhost", "inner.example", "inner-20.example", "302 to metadata"),
        *("redirect to //127.0.0.1:{port}/", "redirect to http://inner.example:{port}/"),
    }

    verdicts = addresses.run(connect_seconds=0.1, unprotected=True, only=frozenset(dangerous))

    leaks = {verdict.name for verdict in verdicts if verdict.got == "leak"}
    assert leaks >= dangerous
    assert {"own server as 127.0.0.1", "own server as localhost"} <= leaks
