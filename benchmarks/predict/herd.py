"""Many requests at once to a model that is not loaded: it is read from the store once, and all are answered."""

from typing import NamedTuple

from benchmarks.predict.figures import count_silent_refusals, count_statuses, find_percentile
from benchmarks.predict.load import OK, Clients, run_apart
from benchmarks.predict.setting import Setting
from benchmarks.predict.store_reads import count_reads
from core.inference.model_card import WEIGHTS_FILE
from core.storage_keys import model_prefix


class Herd(NamedTuple):
    requests: int
    store_reads: int  # of the weights
    read_bytes: int  # from the store
    weights_bytes: int
    statuses: dict[int, int]  # refused ones were sent again
    silent_refusals: int
    p50_ms: float
    p99_ms: float


def measure_herd(setting: Setting, requests: int) -> Herd:
    model_id = setting.publish()[0]
    path = f"/{setting.settings.s3_bucket}/{model_prefix(model_id)}{WEIGHTS_FILE}"
    store_url = setting.settings.s3_endpoint_url
    assert store_url is not None
    with count_reads(store_url, path) as reads, setting.serve({"BITUNE_S3_ENDPOINT_URL": reads.url}) as (_, url):
        tries = run_apart(Clients(setting.aim(url, [model_id]), requests, at_least=requests))
    waited_ms = [1000 * one.waited_seconds for one in tries if one.status == OK]
    return Herd(
        requests=requests,
        store_reads=reads.count,
        read_bytes=reads.read_bytes,
        weights_bytes=setting.files.size_bytes,
        statuses=dict(count_statuses(tries)),
        silent_refusals=count_silent_refusals(tries),
        p50_ms=find_percentile(waited_ms, 50),
        p99_ms=find_percentile(waited_ms, 99),
    )
