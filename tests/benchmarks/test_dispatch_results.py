"""What finished jobs change, told from runs in alternating order."""

from benchmarks.dispatch_results import Result, find_growth, find_medians

RESULT = Result(
    workers=1,
    finished_before=0,
    claims_per_second=100.0,
    claim_p50_ms=2.0,
    claim_p99_ms=9.0,
    database_ms_per_job=4.0,
    database_cpu_ms_per_job=1.0,
    query_ms=0.3,
    query_pages=60,
    query_most_rows=11,
)
EMPTY, FULL = RESULT, RESULT._replace(finished_before=1000)


def test_growth_is_of_the_full_table_whichever_was_first() -> None:
    slow = FULL._replace(
        claims_per_second=50.0, claim_p50_ms=6.0, database_ms_per_job=16.0, database_cpu_ms_per_job=1.1, query_ms=1.5
    )

    assert find_growth([EMPTY, slow, slow, EMPTY]) == {
        "seconds_per_claim": 2.0,
        "claim_p50_ms": 3.0,
        "claim_p99_ms": 1.0,
        "database_ms_per_job": 4.0,
        "database_cpu_ms_per_job": 1.1,
        "query_ms": 5.0,
    }


def test_one_disturbed_pair_of_three_does_not_count() -> None:
    disturbed = FULL._replace(query_ms=30.0)

    assert find_growth([EMPTY, FULL, disturbed, EMPTY, EMPTY, FULL])["query_ms"] == 1.0


def test_steady_drift_cancels_out() -> None:
    speeds = [100.0, 90.0, 80.0, 70.0]
    runs = [
        run._replace(claims_per_second=speed) for run, speed in zip([EMPTY, FULL, FULL, EMPTY], speeds, strict=True)
    ]

    assert 0.95 < find_growth(runs)["seconds_per_claim"] < 1.05


def test_medians_have_a_row_for_each_arm() -> None:
    runs = [EMPTY, FULL, FULL, EMPTY._replace(claims_per_second=200.0, query_most_rows=40)]

    empty, full = find_medians(runs)

    assert (empty.claims_per_second, empty.query_most_rows) == (150.0, 40)
    assert full == FULL
