"""What was tried and is not an option of a job: `--set prototype=NAME`. What each gave is in `docs/benchmarks.md`."""

from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.accuracy.rows import MethodName, Setup
from core.inference.classifier import Classifier
from core.specs import EncoderName
from core.training import course, optim
from core.training.methods import build
from core.training.methods.base import Batch
from core.training.methods.bi_tuning import BiTuning, Keys
from core.training.trainer import Trainer

PROTOTYPE = "prototype"  # the option that names one
Losses = dict[str, Tensor]
SMALL_CROPS = 2
PROBE_DECAY = 1e-3


class Symmetric(BiTuning):
    """Each view is a query once and the own key once, as in MoCo v3 (arXiv 2104.02057): twice the work of a step.

    The queues take the keys of the second view alone.
    """

    _swapped_keys: Tensor  # projections of the first view (B, L)

    def encode_keys(self, batch: Batch, micro_batch_size: int) -> None:
        super().encode_keys(batch, micro_batch_size)
        with torch.no_grad():
            parts = [self.key(batch.views[0][part]) for part in batch.split(micro_batch_size)]
        self._swapped_keys = torch.cat([projections for _, projections, _ in parts])

    def compute_losses(self, batch: Batch, part: slice) -> Losses:
        keys = self._take_keys()
        there = super().compute_losses(batch, part)
        self._keys = Keys(self._swapped_keys, keys.features)
        back = super().compute_losses(Batch(batch.views[::-1], batch.labels), part)
        self._keys = keys
        return {name: (there[name] + back[name]) / 2 for name in there}


class MixedPairs(BiTuning):
    """Cross-entropy also on hard pairs of features, after Core-tuning (arXiv 2102.06605).

    Each sample's farthest feature of its class is mixed with its nearest of another, and their labels alike.
    """

    def compute_losses(self, batch: Batch, part: slice) -> Losses:
        seen: list[Tensor] = []  # features of the queries (B, d)
        hook = self.query.classifier.backbone.register_forward_hook(lambda *given: seen.append(given[-1]))
        losses = super().compute_losses(batch, part)
        hook.remove()
        mixed, targets = self._mix(seen[0].float(), batch.labels[part])
        log_probabilities = self.classifier.head(mixed).log_softmax(dim=1)
        return losses | {"loss": losses["loss"] - (targets * log_probabilities).sum(dim=1).mean()}

    def _mix(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed features (B, d) and their targets (B, C)."""
        directions = functional.normalize(features, dim=1)
        cosines = directions @ directions.T
        same_class = labels.unsqueeze(1) == labels
        farthest = cosines.masked_fill(~same_class, 2).argmin(dim=1)
        nearest = cosines.masked_fill(same_class, -2).argmax(dim=1)
        share = torch.rand(len(labels), 1, generator=_make_generator(self._seed, self._step)).to(features.device)
        targets = functional.one_hot(labels, self.num_classes).float()

        def mix(values: Tensor) -> Tensor:
            return share * values[farthest] + (1 - share) * values[nearest]

        return mix(features), mix(targets)


class SmallCrops(BiTuning):
    """Two quarters of the first view are queries as well, as in SwAV (arXiv 2006.09882): half the work again."""

    def compute_losses(self, batch: Batch, part: slice) -> Losses:
        losses = super().compute_losses(batch, part)
        own = self._take_keys().projections[part]
        found = [losses["loss_ccl"]]
        for small in self._cut(batch.views[0][part]):
            _, projections, _ = self.query(small)
            found.append(self._compute_ccl(projections, own, batch.labels[part]))
        loss_ccl = torch.stack(found).mean()
        change = self.spec.ccl_weight * (loss_ccl - losses["loss_ccl"])
        return losses | {"loss": losses["loss"] + change, "loss_ccl": loss_ccl}

    def _cut(self, view: Tensor) -> list[Tensor]:
        """(B, 3, S/2, S/2), each of one random place."""
        side = view.shape[-1] // 2
        places = torch.randint(side + 1, (SMALL_CROPS, 2), generator=_make_generator(self._seed, self._step)).tolist()
        return [view[:, :, top : top + side, left : left + side] for top, left in places]


class QueryAlone(BiTuning):
    """The key encoder gives keys alone, as in the authors' code: it is neither validated nor exported."""

    @property
    def candidates(self) -> dict[EncoderName, Classifier]:
        return {"query": self.query.classifier}


class ProbedHead(Trainer):
    """The head starts from a logistic regression on features of the frozen backbone, instead of from noise."""

    def _fit(self) -> None:
        if self._counters.step == 0:
            self._method.eval()  # the features are those that validation sees
            head = fit_head(self._compute_features(), self._samples.train.labels, self._method.classifier.head)
            for classifier in self._method.candidates.values():
                classifier.head.load_state_dict(head)
        super()._fit()

    @torch.no_grad()
    def _compute_features(self) -> Tensor:
        """Of the training pictures' centre squares (M, d)."""
        train, backbone = self._samples.train, self._method.classifier.backbone
        parts = [train.read_squares(places) for places in np.array_split(np.arange(len(train)), len(train) // 64 + 1)]
        return torch.cat([backbone(self._normalize(part.to(self._device))).float().cpu() for part in parts])


def fit_head(features: Tensor, labels: Tensor, head: nn.Linear) -> dict[str, Tensor]:
    """The state of `head` that fits features (M, d) and labels (M,) best, with a little weight decay."""
    fitted = nn.Linear(head.in_features, head.out_features)
    nn.init.zeros_(fitted.weight)
    nn.init.zeros_(fitted.bias)
    optimizer = torch.optim.LBFGS(fitted.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def compute_loss() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(fitted(features), labels) + PROBE_DECAY * fitted.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(compute_loss)
    return fitted.state_dict()


class _Change(NamedTuple):
    module: ModuleType
    name: str
    value: object
    methods: frozenset[MethodName] = frozenset({"bi_tuning"})


PROTOTYPES = {
    "symmetric": _Change(build, "BiTuning", Symmetric),
    "mixed_pairs": _Change(build, "BiTuning", MixedPairs),
    "small_crops": _Change(build, "BiTuning", SmallCrops),
    "query_alone": _Change(build, "BiTuning", QueryAlone),
    "probed_head": _Change(course, "Trainer", ProbedHead, frozenset({"vanilla", "bi_tuning"})),
    "fast_backbone": _Change(optim, "SLOW_SHARE", 1.0, frozenset({"vanilla", "bi_tuning"})),
}


def check_prototype(setup: Setup) -> None:
    """Raises ValueError for a name that there is not, and for a method that it changes nothing of."""
    name = setup.read_options().get(PROTOTYPE)
    if name is None:
        return
    if name not in PROTOTYPES:
        raise ValueError(f"there is no prototype '{name}', only {', '.join(PROTOTYPES)}")
    if setup.method not in PROTOTYPES[name].methods:
        raise ValueError(f"'{name}' changes nothing of {setup.method}")


def try_out(name: str | None) -> AbstractContextManager[object]:
    """For as long as the block lasts; None changes nothing.

    By replacing a name of the trainer: what no job offers has no place in the trainer itself.
    """
    if name is None:
        return nullcontext()
    change = PROTOTYPES[name]
    return patch.object(change.module, change.name, change.value)


def _make_generator(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + step)
