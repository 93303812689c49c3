"""Figures of handing out jobs: medians over rounds, and what finished jobs in the table change."""

from statistics import median
from typing import NamedTuple

from rich.table import Table

FLAT = 1.2
JUDGED = frozenset({"database_cpu_ms_per_job", "query_ms"})  # the others tell as much of what else the machine does


class Result(NamedTuple):
    workers: int
    finished_before: int
    claims_per_second: float
    claim_p50_ms: float
    claim_p99_ms: float
    database_ms_per_job: float  # planning, execution and commit of all that a worker does with it, waits included
    database_cpu_ms_per_job: float  # the same without waits
    query_ms: float  # the claim's search alone, in the executor, with all jobs queued; the fastest of many
    query_pages: float
    query_most_rows: int  # that one step of its plan reads


class Pair(NamedTuple):
    """Two runs, one right after the other."""

    empty: Result
    full: Result


def find_medians(results: list[Result]) -> list[Result]:
    """One row for each number of workers and of finished jobs."""
    keys = sorted({(result.workers, result.finished_before) for result in results})
    return [_merge([result for result in results if result[:2] == key]) for key in keys]


def find_growth(results: list[Result]) -> dict[str, float]:
    """How many times slower it is with finished jobs, by figure: the median over all pairs.

    Two runs beside each other differ less by what else the machine does than two with others between them.
    """
    pairs = [_make_pair(*results[index : index + 2]) for index in range(0, len(results), 2)]
    ratios = {
        "seconds_per_claim": [pair.empty.claims_per_second / pair.full.claims_per_second for pair in pairs],
        "claim_p50_ms": [pair.full.claim_p50_ms / pair.empty.claim_p50_ms for pair in pairs],
        "claim_p99_ms": [pair.full.claim_p99_ms / pair.empty.claim_p99_ms for pair in pairs],
        "database_ms_per_job": [pair.full.database_ms_per_job / pair.empty.database_ms_per_job for pair in pairs],
        "database_cpu_ms_per_job": [
            pair.full.database_cpu_ms_per_job / pair.empty.database_cpu_ms_per_job for pair in pairs
        ],
        "query_ms": [pair.full.query_ms / pair.empty.query_ms for pair in pairs],
    }
    return {name: round(median(values), 2) for name, values in ratios.items()}


def make_table(results: list[Result]) -> Table:
    table = Table(*(name.replace("_", " ") for name in Result._fields))
    for result in results:
        table.add_row(*map(str, result))
    return table


def _make_pair(one: Result, other: Result) -> Pair:
    empty, full = sorted((one, other), key=lambda result: result.finished_before)
    return Pair(empty, full)


def _merge(results: list[Result]) -> Result:
    """All of one number of workers and of finished jobs."""
    return Result(
        workers=results[0].workers,
        finished_before=results[0].finished_before,
        claims_per_second=round(median(result.claims_per_second for result in results), 1),
        claim_p50_ms=round(median(result.claim_p50_ms for result in results), 2),
        claim_p99_ms=round(median(result.claim_p99_ms for result in results), 2),
        database_ms_per_job=round(median(result.database_ms_per_job for result in results), 2),
        database_cpu_ms_per_job=round(median(result.database_cpu_ms_per_job for result in results), 2),
        query_ms=round(median(result.query_ms for result in results), 3),
        query_pages=median(result.query_pages for result in results),
        query_most_rows=max(result.query_most_rows for result in results),
    )
