"""The same seed brings the same faults, whatever they draw for themselves."""

import random
from itertools import islice

from tests.chaos.history import Injected
from tests.chaos.kill_points import NAMES
from tests.chaos.process_faults import shuffle_points
from tests.chaos.schedule import Lane, plan_faults


def hit(rng: random.Random) -> Injected:
    return Injected("hit", rng.random(), 0.0, [])


def miss(_: random.Random) -> None:
    return None


LANE = Lane("lane", [(hit, 2), (miss, 1)], pause_seconds=1.0)


def test_what_a_fault_draws_moves_no_other_fault() -> None:
    quiet, busy = plan_faults(LANE, seed=4), plan_faults(LANE, seed=4)

    for planned, other in islice(zip(quiet, busy, strict=True), 50):
        assert (planned.inject, planned.pause_seconds) == (other.inject, other.pause_seconds)
        assert planned.rng.random() == other.rng.random()
        other.rng.sample(range(100), 7)


def test_faults_draw_different_numbers() -> None:
    drawn = {planned.rng.random() for planned in islice(plan_faults(LANE, seed=4), 50)}

    assert len(drawn) == 50


def test_another_seed_brings_other_faults() -> None:
    first, second = ([planned.inject for planned in islice(plan_faults(LANE, seed=seed), 50)] for seed in (4, 5))

    assert first != second


def test_kill_points_come_by_seed_and_each_once_a_round() -> None:
    points = shuffle_points(4)
    first, second = list(islice(points, len(NAMES))), list(islice(points, len(NAMES)))

    assert first == list(islice(shuffle_points(4), len(NAMES)))
    assert sorted(first) == sorted(second)
    assert first != second
