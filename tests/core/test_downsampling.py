import math

import pytest

from core.downsampling import Point, choose_points


def make_series(count: int) -> list[Point]:
    return [Point(step, math.sin(step / 50)) for step in range(count)]


@pytest.mark.parametrize("limit", [3, 4, 10, 100, 999, 1000])
def test_ends_stay_and_the_limit_holds(limit: int) -> None:
    chosen = choose_points(make_series(1000), limit)

    assert len(chosen) == limit
    assert (chosen[0], chosen[-1]) == (0, 999)
    assert chosen == sorted(set(chosen))


def test_short_series_is_left_alone() -> None:
    assert choose_points(make_series(5), 10) == [0, 1, 2, 3, 4]


def test_spike_stays() -> None:
    points = [Point(step, 100.0 if step == 537 else 0.0) for step in range(1000)]

    assert 537 in choose_points(points, 20)


def test_what_is_no_number_is_passed_over() -> None:
    points = [Point(step, math.nan if step == 537 else math.sin(step)) for step in range(1000)]

    assert 537 not in choose_points(points, 20)
