"""How good a classifier is on samples that it does not learn from."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from core.inference.classifier import Classifier
from core.inference.normalize import Normalizer
from core.training.data import SampleSet, read_in_order

BATCH_SIZE = 64


class Tally:
    """Sums over batches; loss, accuracy and confusion come from them."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._num_classes = num_classes
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._confusion = torch.zeros(num_classes * num_classes, dtype=torch.int64, device=device)

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """logits: (B, C); labels: (B,)."""
        self._loss += functional.cross_entropy(logits.double(), labels, reduction="sum")
        cells = labels * self._num_classes + logits.argmax(dim=1)
        self._confusion.index_add_(0, cells, torch.ones_like(cells))

    @property
    def count(self) -> int:
        return int(self._confusion.sum())

    @property
    def loss(self) -> float:
        return float(self._loss) / self.count

    @property
    def accuracy(self) -> float:
        return float(self._matrix().trace()) / self.count

    @property
    def confusion(self) -> list[list[int]]:
        """[true class][predicted class]"""
        return [[int(cell) for cell in row] for row in self._matrix().tolist()]

    def _matrix(self) -> Tensor:
        return self._confusion.view(self._num_classes, self._num_classes)


@torch.inference_mode()
def evaluate(
    classifier: Classifier,
    samples: SampleSet,
    normalize: Normalizer,
    device: torch.device,
    *,
    on_batch: Callable[[], None],
) -> Tally:
    """The samples must not be none. `on_batch` may raise to give up."""
    classifier.eval()
    tally = Tally(classifier.head.out_features, device)
    for pixels, labels in read_in_order(samples, batch_size=BATCH_SIZE, device=device):
        tally.add(classifier(normalize(pixels)), labels)
        on_batch()
    classifier.train()
    return tally
