import torch
from torch.nn import functional

from core.training.losses import categorical_contrastive_loss
from core.training.methods.key_queue import KeyQueue
from core.training.methods.negatives import Candidates, count_candidates, draw_candidates

NUM_CLASSES = 40
LABELS = torch.tensor([3, 17, 3, 39])


def make_queue(width: int = 8) -> KeyQueue:
    generator = torch.Generator().manual_seed(0)
    queue = KeyQueue(num_classes=NUM_CLASSES, queue_size=2, width=width)
    queue.fill_with_noise(generator)
    return queue


def test_few_classes_are_all_candidates() -> None:
    assert count_candidates(200, 40, 48) == 200
    assert draw_candidates(LABELS, num_classes=40, count=40, seed=0, step=0).classes is None


def test_keys_of_a_step_are_bounded_and_the_batch_always_fits() -> None:
    assert count_candidates(10_000, 6, 48, max_keys=16_384) * 6 <= 16_384
    assert count_candidates(10_000, 4096, 48, max_keys=16_384) == 96


def test_classes_of_the_batch_are_always_there_and_found_again() -> None:
    drawn = draw_candidates(LABELS, num_classes=NUM_CLASSES, count=10, seed=0, step=5)

    assert drawn.classes is not None
    assert len(set(drawn.classes.tolist())) == 10
    assert drawn.classes[drawn.locate(LABELS, NUM_CLASSES)].tolist() == LABELS.tolist()


def test_others_are_drawn_anew_each_step_and_the_same_again() -> None:
    drawn = [
        draw_candidates(LABELS, num_classes=NUM_CLASSES, count=10, seed=0, step=step).classes for step in (0, 1, 0)
    ]

    assert drawn[0] is not None
    assert drawn[1] is not None
    assert drawn[2] is not None
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def test_sum_of_the_softmax_is_right_in_the_mean() -> None:
    """The sampled classes stand for all of the others."""
    queue = make_queue()
    query = functional.normalize(torch.randn(8, generator=torch.Generator().manual_seed(1)), dim=0)
    full = float((queue.keys @ query).exp().sum())

    sums = []
    for step in range(400):
        drawn = draw_candidates(LABELS, num_classes=NUM_CLASSES, count=10, seed=0, step=step)
        keys, _ = drawn.select(queue)
        assert drawn.log_weights is not None
        sums.append(float(((keys @ query) + drawn.log_weights.unsqueeze(1)).exp().sum()))

    assert abs(sum(sums) / len(sums) / full - 1) < 0.01


def test_loss_of_sampled_negatives_is_close_to_the_full_one_in_the_mean() -> None:
    queue = make_queue()
    generator = torch.Generator().manual_seed(2)
    queries, own = (functional.normalize(torch.randn(4, 8, generator=generator), dim=1) for _ in range(2))
    full = categorical_contrastive_loss(queries, own, queue.keys, LABELS, queue.valid, temperature=0.5)

    losses = []
    for step in range(200):
        drawn = draw_candidates(LABELS, num_classes=NUM_CLASSES, count=12, seed=0, step=step)
        keys, valid = drawn.select(queue)
        labels = drawn.locate(LABELS, NUM_CLASSES)
        losses.append(
            categorical_contrastive_loss(
                queries, own, keys, labels, valid, temperature=0.5, log_weights=drawn.log_weights
            )
        )

    torch.testing.assert_close(torch.stack(losses).mean(), full, atol=0.06, rtol=0)


def test_copy_stays_as_it_was_when_keys_come_in() -> None:
    queue = KeyQueue(num_classes=2, queue_size=1, width=2)
    everything = Candidates(classes=None, log_weights=None)

    (copied, was_valid), (seen, _) = everything.copy(queue), everything.select(queue)
    queue.enqueue(torch.ones(1, 2), torch.tensor([1]))

    assert (int(copied.sum()), int(was_valid.sum()), int(seen.sum())) == (0, 0, 2)
