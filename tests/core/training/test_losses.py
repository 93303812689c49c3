from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from core.training.losses import CrossEntropy, categorical_contrastive_loss, contrastive_cross_entropy
from core.training.methods.key_queue import KeyQueue
from tests.core.training.twins import TwinQueue, twin_cce, twin_ccl

TEMPERATURE = 0.2
CASES = [
    (seed, *sizes) for seed, sizes in enumerate([(2, 1, 3), (3, 4, 8), (5, 8, 16), (7, 3, 1), (4, 6, 32), (2, 16, 5)])
]
WIDTH = 6


class Setting:
    """Random queries and weights, and a queue that is filled by halves, beside its twin."""

    def __init__(self, seed: int, num_classes: int, queue_size: int, batch_size: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(num_classes, (batch_size,), generator=self._generator)
        self.queries = self._draw_unit(batch_size)
        self.own = self._draw_unit(batch_size)
        self.weights = self._draw_unit(num_classes)
        self.queue = KeyQueue(num_classes=num_classes, queue_size=queue_size, width=WIDTH).double()
        self.twin = TwinQueue(num_classes, queue_size)
        self._fill(num_classes, num_classes * queue_size // 2)

    def _fill(self, num_classes: int, count: int) -> None:
        labels = torch.randint(num_classes, (count,), generator=self._generator)
        keys = self._draw_unit(count)
        self.queue.enqueue(keys, labels)
        self.twin.enqueue(keys, labels.tolist())

    def _draw_unit(self, count: int) -> Tensor:
        return functional.normalize(torch.randn(count, WIDTH, generator=self._generator, dtype=torch.float64), dim=1)


@pytest.mark.parametrize("case", CASES)
def test_categorical_contrastive_loss_equals_its_twin(case: tuple[int, int, int, int]) -> None:
    it = Setting(*case)

    loss = categorical_contrastive_loss(
        it.queries, it.own, it.queue.keys, it.labels, it.queue.valid, temperature=TEMPERATURE
    )

    assert float(loss) == pytest.approx(
        twin_ccl(it.queries, it.own, it.twin, it.labels.tolist(), TEMPERATURE), abs=1e-5
    )


@pytest.mark.parametrize("case", CASES)
def test_contrastive_cross_entropy_equals_its_twin(case: tuple[int, int, int, int]) -> None:
    it = Setting(*case)

    loss = contrastive_cross_entropy(
        it.queries, it.weights[it.labels], it.queue.keys, it.labels, it.queue.valid, temperature=TEMPERATURE
    )

    expected = twin_cce(it.queries, it.weights, it.twin, it.labels.tolist(), TEMPERATURE)
    assert float(loss) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("loss", [categorical_contrastive_loss, contrastive_cross_entropy])
def test_gradients_are_those_of_the_formula(loss: Callable[..., Tensor]) -> None:
    it = Setting(1, 3, 4, 8)
    log_weights = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    given = [it.queries.requires_grad_(), it.own.requires_grad_()]
    compared = given[loss is contrastive_cross_entropy]  # with the queue: the query, or the class's weight
    own = (it.queries * it.own).sum(dim=1) / TEMPERATURE
    queued = torch.einsum("bd,ckd->bck", compared, it.queue.keys) / TEMPERATURE
    masked = (queued + log_weights.view(1, -1, 1)).masked_fill(~it.queue.valid, -torch.inf)
    total = torch.logsumexp(torch.cat([own.unsqueeze(1), masked.flatten(1)], dim=1), dim=1)
    is_positive = it.queue.valid & functional.one_hot(it.labels, 3).bool().unsqueeze(2)  # (B, C, K)
    positives = own + (queued * is_positive).sum(dim=(1, 2))
    formula = (total - positives / (1 + is_positive.sum(dim=(1, 2)))).mean()

    found = loss(*given, it.queue.keys, it.labels, it.queue.valid, temperature=TEMPERATURE, log_weights=log_weights)

    torch.testing.assert_close(found, formula)
    torch.testing.assert_close(torch.autograd.grad(found, given), torch.autograd.grad(formula, given))


@pytest.mark.parametrize("log_weights", [None, torch.tensor([0.0, 2.0])])
def test_empty_queue_leaves_the_own_key_alone(log_weights: Tensor | None) -> None:
    queue = KeyQueue(num_classes=2, queue_size=3, width=WIDTH)
    unit = functional.normalize(torch.ones(4, WIDTH), dim=1).requires_grad_()

    loss = categorical_contrastive_loss(
        unit,
        unit.detach(),
        queue.keys,
        torch.tensor([0, 1, 0, 1]),
        queue.valid,
        temperature=0.07,
        log_weights=log_weights,
    )
    loss.backward()

    assert loss.item() == 0  # p(own) = 1
    assert unit.grad is not None
    assert torch.isfinite(unit.grad).all()


@pytest.mark.parametrize("loss", [categorical_contrastive_loss, contrastive_cross_entropy])
def test_contrast_is_as_exact_under_autocast(loss: Callable[..., Tensor]) -> None:
    it = Setting(0, 3, 4, 8)
    floats = [value.float() for value in (it.queries, it.own, it.queue.keys)]
    arguments = (*floats, it.labels, it.queue.valid)

    expected = loss(*arguments, temperature=0.07)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(*arguments, temperature=0.07), expected)


def test_cross_entropy_weighs_samples_by_their_class() -> None:
    logits, labels, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0]), [0.5, 1.0, 3.0]

    loss = CrossEntropy(weights)(logits, labels)

    log_p = logits.log_softmax(dim=1)
    twin = sum(-weights[int(label)] * float(log_p[row, label]) for row, label in enumerate(labels)) / 6
    assert float(loss) == pytest.approx(twin, abs=1e-6)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    logits, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])

    loss = CrossEntropy(label_smoothing=0.2)(logits, labels)

    targets = functional.one_hot(labels, 4) * 0.8 + 0.2 / 4
    assert float(loss) == pytest.approx(float(-(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()), abs=1e-6)
