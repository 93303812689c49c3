import numpy as np

from core.training.randomness import draw_balanced_order, draw_order, draw_uniform, make_sample_keys

KEYS = make_sample_keys([f"sample-{number}" for number in range(1000)])


def test_order_is_a_permutation_that_changes_with_the_epoch() -> None:
    first, second = (draw_order(KEYS, seed=0, epoch=epoch) for epoch in (0, 1))

    assert sorted(first) == list(range(1000))
    assert (first != second).any()


def test_numbers_of_a_sample_do_not_depend_on_its_batch() -> None:
    alone = draw_uniform(KEYS[7:8], 5, seed=1, epoch=2, view=0)

    assert (draw_uniform(KEYS[:20], 5, seed=1, epoch=2, view=0)[7] == alone[0]).all()


def test_seed_epoch_and_view_each_change_the_numbers() -> None:
    draws = [
        draw_uniform(KEYS, 3, seed=seed, epoch=epoch, view=view)
        for seed, epoch, view in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    ]

    assert len({draw.tobytes() for draw in draws}) == 4


def test_numbers_are_uniform_and_independent() -> None:
    draws = draw_uniform(KEYS, 41, seed=0, epoch=0, view=0)

    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.allclose(np.histogram(draws, bins=10)[0] / draws.size, 0.1, atol=0.01)
    assert np.abs(np.corrcoef(draws, rowvar=False) - np.eye(41)).max() < 0.15


def test_balanced_order_takes_every_sample_of_a_small_class_before_any_again() -> None:
    keys, labels = make_sample_keys([str(number) for number in range(10)]), np.array([0] * 7 + [1] * 3)

    order = draw_balanced_order(keys, labels, seed=0, epoch=0)

    counts = np.bincount(order, minlength=10)
    assert counts[:7].sum() == counts[7:].sum() == 5
    assert counts[:7].max() == 1
    assert sorted(counts[7:]) == [1, 2, 2]


def test_balanced_order_is_another_in_every_epoch_and_the_same_again() -> None:
    keys, labels = make_sample_keys([str(number) for number in range(20)]), np.arange(20) % 3

    orders = [draw_balanced_order(keys, labels, seed=0, epoch=epoch).tolist() for epoch in (0, 1, 0)]

    assert orders[0] == orders[2] != orders[1]
