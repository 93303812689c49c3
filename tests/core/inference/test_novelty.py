import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from core.inference.novelty import FALSE_ALARM_RATE, Novelty, create_novelty, find_unknown_threshold

WIDTH = 4


def make_novelty(keys: Tensor) -> Novelty:
    return Novelty(functional.normalize(keys, dim=1))


def twin(features: Tensor, keys: Tensor) -> list[float]:
    def measure(one: Tensor, other: Tensor) -> float:
        return float(one @ other / (one.norm() * other.norm()))

    return [1 - max(measure(feature, key) for key in keys) for feature in features]


def test_scores_equal_the_twin() -> None:
    torch.manual_seed(0)
    features, keys = torch.randn(20, WIDTH), torch.randn(7, WIDTH)

    assert make_novelty(keys)(features).tolist() == pytest.approx(twin(features, keys), abs=1e-6)


def test_picture_on_a_key_is_known_and_opposite_to_all_is_as_unknown_as_can_be() -> None:
    keys = torch.tensor([[3.0, 4, 0, 0]])

    assert make_novelty(keys)(torch.stack([keys[0], -2 * keys[0]])).tolist() == pytest.approx([0, 2], abs=1e-6)


def test_false_alarms_are_as_rare_as_promised() -> None:
    """On average over validation splits, for new pictures of the same kind."""
    random = np.random.default_rng(0)
    rates = []
    for _ in range(400):
        validation, new = torch.from_numpy(random.gamma(2, 0.1, 100)), random.gamma(2, 0.1, 1000)
        rates.append(np.mean(new > find_unknown_threshold(validation)))

    assert 0.7 * FALSE_ALARM_RATE < np.mean(rates) <= FALSE_ALARM_RATE


@pytest.mark.parametrize(("count", "threshold"), [(1, 2.0), (18, 2.0), (19, 0.3)])
def test_with_too_few_pictures_nothing_is_called_unknown(count: int, threshold: float) -> None:
    scores = torch.full((count,), 0.1)
    scores[0] = 0.3

    assert find_unknown_threshold(scores) == pytest.approx(threshold, abs=2e-5)


def test_threshold_is_not_below_the_score_that_made_it() -> None:
    scores = torch.rand(19, generator=torch.Generator().manual_seed(0))

    assert find_unknown_threshold(scores) >= float(scores.max())


def test_model_without_keys_has_none() -> None:
    assert create_novelty({"head.bias": torch.zeros(2)}, WIDTH) is None


def test_short_keys_are_computed_with_in_float32() -> None:
    keys = functional.normalize(torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0)), dim=1).half()
    novelty = create_novelty({"novelty.keys": keys}, WIDTH)

    assert novelty is not None
    novelty.load_state_dict({"keys": keys})
    assert novelty(keys.float()).dtype == torch.float32
    assert torch.equal(novelty.keys, keys.float())
