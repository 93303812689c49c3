"""Twice as many requests as can be served, whatever is answered: what is still served in time?"""

from typing import NamedTuple

from benchmarks.predict.figures import count_silent_refusals, count_statuses, find_percentile, summarize
from benchmarks.predict.load import LEAD_IN_SECONDS, OK, REFUSALS, TIMED_OUT, Clients, Rate, Try, run_apart
from benchmarks.predict.setting import Setting

CAPACITY_CLIENTS = 32
FACTOR = 2.0
GRACE_SECONDS = 1.0  # a client waits for so much longer than the deadline: to see what the server says of it


class Overload(NamedTuple):
    capacity_per_second: float  # with 32 clients that wait for their answers
    offered_per_second: float  # as it was really sent
    goodput_per_second: float  # answered with 200 within the deadline
    goodput_share: float  # of capacity
    accepted_p99_ms: float
    refused: dict[int, float]  # share of what was sent, by status
    refusal_p50_ms: float  # how soon a client learns it
    late_share: float  # answered with 200 after the deadline, or given up by the client
    failed_share: float
    silent_refusals: int  # without Retry-After


def measure_overload(setting: Setting, deadline_seconds: float) -> Overload:
    """Counts from twice the deadline on: until then even a queue that refuses nobody answers in time."""
    since = 2 * deadline_seconds
    until = since + setting.seconds
    with setting.serve({"BITUNE_PREDICT_TIMEOUT_SECONDS": str(deadline_seconds)}) as (_, url):
        target = setting.aim(url, setting.publish())
        capacity_until = LEAD_IN_SECONDS + setting.seconds
        tries = run_apart(Clients(target, CAPACITY_CLIENTS, seconds=capacity_until))
        capacity = summarize(tries, since=LEAD_IN_SECONDS, until=capacity_until).images_per_second
        assert capacity > 0, "nothing was served"
        tries = run_apart(
            Rate(target, FACTOR * capacity, seconds=until, timeout_seconds=deadline_seconds + GRACE_SECONDS)
        )
    return _summarize([one for one in tries if since <= one.sent < until], capacity, setting.seconds, deadline_seconds)


def _summarize(sent: list[Try], capacity: float, seconds: float, deadline_seconds: float) -> Overload:
    served = [one.waited_seconds for one in sent if one.status == OK]
    counts = count_statuses(sent)
    in_time = sum(waited <= deadline_seconds for waited in served)
    refused = sum(counts[status] for status in REFUSALS)
    late = counts[TIMED_OUT] + len(served) - in_time
    return Overload(
        capacity_per_second=capacity,
        offered_per_second=len(sent) / seconds,
        goodput_per_second=in_time / seconds,
        goodput_share=in_time / seconds / capacity,
        accepted_p99_ms=1000 * find_percentile(served, 99),
        refused={status: counts[status] / len(sent) for status in REFUSALS},
        refusal_p50_ms=1000 * find_percentile([one.waited_seconds for one in sent if one.status in REFUSALS], 50),
        late_share=late / len(sent),
        failed_share=(len(sent) - len(served) - refused - counts[TIMED_OUT]) / len(sent),
        silent_refusals=count_silent_refusals(sent),
    )
