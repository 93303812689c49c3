import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.honesty import compute_auroc
from benchmarks.unrelated import SIDE, make_unrelated


def twin(negatives: NDArray[np.float64], positives: NDArray[np.float64]) -> float:
    wins = [(one > other) + 0.5 * (one == other) for one in positives for other in negatives]
    return float(np.mean(wins))


@pytest.mark.parametrize("seed", range(5))
def test_auroc_equals_the_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    negatives, positives = (random.integers(0, 10, count) / 10 for count in (17, 23))  # with ties

    assert compute_auroc(negatives, positives) == pytest.approx(twin(negatives, positives))


def test_unrelated_pictures_are_the_same_for_a_seed() -> None:
    once, again = make_unrelated(2, seed=1), make_unrelated(2, seed=1)

    assert len(once) == 5
    for name, pictures in once.items():
        assert [picture.size for picture in pictures] == [(SIDE, SIDE)] * 2
        assert [picture.tobytes() for picture in pictures] == [picture.tobytes() for picture in again[name]]
        assert pictures[0].tobytes() != pictures[1].tobytes()
