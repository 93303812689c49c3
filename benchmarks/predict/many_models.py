"""More models in turn than there is room for: memory stays within the cap, and nobody gets an error."""

from pathlib import Path
from typing import NamedTuple

from benchmarks.predict.figures import count_statuses, find_percentile
from benchmarks.predict.load import OK, Clients, run_apart
from benchmarks.predict.setting import Setting

CLIENTS = 4  # fewer than there is room for: no model that is in use stands in the way of another
ROOM = 5
TURNS = 2


class ManyModels(NamedTuple):
    models: int
    cap_mb: float
    before_mb: float  # resident, with one model loaded
    after_mb: float
    peak_mb: float
    growth_of_cap: float  # of the peak over `before`, which has one model of the cap already
    requests: int
    server_errors: int  # 5xx
    statuses: dict[int, int]
    p50_ms: float


def measure_many_models(setting: Setting, models: int) -> ManyModels:
    model_ids = setting.publish(models)
    cap_bytes = int((ROOM + 0.5) * setting.files.size_bytes)
    with setting.serve({"BITUNE_MODEL_CACHE_BYTES": str(cap_bytes)}) as (process, url):
        run_apart(Clients(setting.aim(url, model_ids[:1]), CLIENTS, at_least=10 * CLIENTS))
        before = _read_memory(process.pid)
        tries = run_apart(
            Clients(setting.aim(url, model_ids), CLIENTS, seconds=setting.seconds, at_least=TURNS * models)
        )
        after = _read_memory(process.pid)
    statuses = count_statuses(tries)
    return ManyModels(
        models=models,
        cap_mb=cap_bytes / 1e6,
        before_mb=before.resident_bytes / 1e6,
        after_mb=after.resident_bytes / 1e6,
        peak_mb=after.peak_bytes / 1e6,
        growth_of_cap=(after.peak_bytes - before.resident_bytes) / cap_bytes,
        requests=len(tries),
        server_errors=sum(count for status, count in statuses.items() if status >= 500),
        statuses=dict(statuses),
        p50_ms=find_percentile([1000 * one.waited_seconds for one in tries if one.status == OK], 50),
    )


class _Memory(NamedTuple):
    resident_bytes: int
    peak_bytes: int  # since the process began


def _read_memory(pid: int) -> _Memory:
    """Needs Linux' /proc."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return _Memory(*(1024 * int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM")))
