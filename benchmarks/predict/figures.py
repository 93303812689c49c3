"""What the tries of a round say."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from benchmarks.predict.load import OK, REFUSALS, Try

NOT_MEASURED = math.nan


class RoundFigures(NamedTuple):
    images_per_second: float
    p50_ms: float
    p99_ms: float
    refused: dict[int, int]  # tries by status
    failed: int  # any other answer than 200, or none


def find_percentile(values: Sequence[float], percent: float) -> float:
    """The least of `values` that at least so many of them do not exceed; NaN of none."""
    if not values:
        return NOT_MEASURED
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def find_median(values: Iterable[float]) -> float:
    """Of those that were measured."""
    measured = [value for value in values if not math.isnan(value)]
    return median(measured) if measured else NOT_MEASURED


def count_statuses(tries: Iterable[Try]) -> Counter[int]:
    return Counter(one.status for one in tries)


def summarize(tries: Sequence[Try], *, since: float, until: float) -> RoundFigures:
    """Of the answers of that time, in seconds of the round. A picture waits from its first try on."""
    answered = [one for one in tries if since <= one.answered < until]
    waited_ms = [1000 * one.waited_seconds for one in answered if one.status == OK]
    counts = count_statuses(answered)
    return RoundFigures(
        images_per_second=counts[OK] / (until - since),
        p50_ms=find_percentile(waited_ms, 50),
        p99_ms=find_percentile(waited_ms, 99),
        refused={status: counts[status] for status in REFUSALS},
        failed=sum(count for status, count in counts.items() if status not in (OK, *REFUSALS)),
    )


def count_silent_refusals(tries: Iterable[Try]) -> int:
    """Those that do not say when to come again."""
    return sum(one.status in REFUSALS and one.retry_after_seconds is None for one in tries)
