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
    leaks = {verdict.name for verdict in addresses.run(connect_seconds=0.1, unprotected=True) if verdict.got == "leak"}

    assert leaks >= {*ADDRESSES, "inner.example", "302 to metadata", "own server as localhost"}
    assert len(leaks) > 90
