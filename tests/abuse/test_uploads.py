from dataclasses import replace

import pytest

from core.settings import Settings
from tests.abuse import uploads
from tests.abuse.api_process import start_api
from tests.abuse.uploads import BUFFERED_BYTES, MAX_BODY_BYTES, judge_push, list_pushes
from tests.abuse.verdict import Verdict

MAX_GROWTH_MB = 64.0


@pytest.fixture(scope="module")
def verdicts(settings: Settings) -> list[Verdict]:
    return list(uploads.run(settings=settings, samples=200))


def test_every_abuse_is_refused_early_and_others_are_served(verdicts: list[Verdict]) -> None:
    wrong = [verdict for verdict in verdicts if verdict.got != verdict.expected]

    assert wrong == []


def test_memory_of_the_api_stays_flat(verdicts: list[Verdict]) -> None:
    assert max(verdict.rss_mb for verdict in verdicts) < MAX_GROWTH_MB


def test_api_without_limits_takes_everything(settings: Settings) -> None:
    off = {"BITUNE_MAX_JSON_BYTES": str(2**40), "BITUNE_MAX_PREDICT_BYTES": str(2**40)}
    with start_api(settings, off) as api:
        chosen = {"1 GiB of JSON", "predict form without end"}
        pushes = [replace(push, until_bytes=MAX_BODY_BYTES + 2 * BUFFERED_BYTES) for push in list_pushes(api.secret)]

        verdicts = [judge_push(push, api, seconds=2.0) for push in pushes if push.name in chosen]

    assert [verdict.got for verdict in verdicts] == ["accept", "accept"]
