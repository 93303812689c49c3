import numpy as np

from core.training.spread import spread


def test_few_are_all_taken() -> None:
    assert spread(3, 64).tolist() == [0, 1, 2]


def test_many_are_taken_evenly() -> None:
    places = spread(1000, 64)

    assert (len(places), places[0], places[-1]) == (64, 0, 999)
    assert set(np.diff(places).tolist()) == {15, 16}
