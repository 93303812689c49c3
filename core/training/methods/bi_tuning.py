"""Bi-tuning (arXiv 2011.06182): L = L_CE + L_CCE + L_CCL, with keys from a momentum encoder in class-wise queues.

The order of a step is that of the authors' code: momentum update, key forward without gradient, L_CCL on the projector
queue as it was, enqueue, L_CCE on the feature queue as it is now. Where theirs starts with noise, an unfilled slot is
masked unless the spec asks for noise; where theirs starts the key encoder's batch norm from the pre-training, ours
starts from the query encoder's.
"""

from copy import deepcopy
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn import functional

from core.inference.classifier import Classifier
from core.specs import EncoderName, ResolvedBiTuningSpec
from core.trainer_protocol import Note
from core.training.losses import CrossEntropy, categorical_contrastive_loss, contrastive_cross_entropy
from core.training.methods.base import Batch, Method
from core.training.methods.key_queue import KeyQueue
from core.training.methods.negatives import Candidates, count_candidates, draw_candidates
from core.training.networks import Encoder
from core.training.ranks import Ranks


class Keys(NamedTuple):
    """Of this rank's share of a batch, without gradient."""

    projections: Tensor  # unit (B, L)
    features: Tensor  # unit, bias-extended (B, d + 1)


class Contrasted(NamedTuple):
    """What the queries of a step are contrasted with."""

    candidates: Candidates
    projections: Tensor  # the projection queue before this batch went in, (M, K, L)
    projections_valid: Tensor  # (M, K)
    features: Tensor  # the feature queue after it went in, (M, K, d + 1)
    features_valid: Tensor  # (M, K)


class BiTuning(Method):
    num_views = 2

    def __init__(
        self,
        classifier: Classifier,
        spec: ResolvedBiTuningSpec,
        criterion: CrossEntropy,
        generator: torch.Generator,
        *,
        batch_size: int,
        seed: int,
        keeps_statistics: bool = False,
    ) -> None:
        super().__init__(keeps_statistics=keeps_statistics)
        self.spec = spec
        self.criterion = criterion
        self.query = Encoder(classifier, spec, generator)
        self.key = deepcopy(self.query).requires_grad_(requires_grad=False)  # batch-norm statistics too
        self.num_classes, num_features = classifier.head.weight.shape
        self.feature_queue = self._make_queue(num_features + 1, generator)
        self.projection_queue = self._make_queue(spec.projection_dim, generator)
        self._num_candidates = count_candidates(self.num_classes, spec.queue_size, batch_size)
        self._seed = seed
        self._step = 0
        self._keys: Keys | None = None  # neither outlives its step
        self._contrasted: Contrasted | None = None

    @property
    def classifier(self) -> Classifier:
        return self.query.classifier

    @property
    def candidates(self) -> dict[EncoderName, Classifier]:
        """The key encoder is an average of the query encoder over the last steps, and may be the better of the two."""
        return {"query": self.query.classifier, "key": self.key.classifier}

    @property
    def notes(self) -> list[Note]:
        notes = []
        if self.spec.is_sharp(self.num_classes) and self.keeps_statistics:
            details: dict[str, int | float] = {"temperature": self.spec.temperature, "classes": self.num_classes}
            message = self.spec.describe_sharpness(self.num_classes)
            notes.append(Note(level="warning", code="sharp_temperature", message=message, details=details))
        if self._num_candidates < self.num_classes:
            message = f"each step contrasts with {self._num_candidates} of the {self.num_classes} classes"
            details = {"classes": self.num_classes, "classes_per_step": self._num_candidates}
            notes.append(Note(level="info", code="negatives_sampled", message=message, details=details))
        return notes

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.spec.key_norm == "momentum":
            self.key.eval()
        return self

    @torch.no_grad()
    def begin_step(self, step: int) -> None:
        """θ_k ← m θ_k + (1 − m) θ_q over the parameters in one fused call; over batch norm's statistics if asked."""
        self._step = step
        followed: list[Tensor] = list(self.key.parameters())
        leaders: list[Tensor] = list(self.query.parameters())
        if self.spec.key_norm == "momentum":
            followed += [buffer for buffer in self.key.buffers() if buffer.is_floating_point()]
            leaders += [buffer for buffer in self.query.buffers() if buffer.is_floating_point()]
        torch._foreach_lerp_(followed, leaders, 1 - self.spec.encoder_momentum)  # torch has no public name for it

    @torch.no_grad()
    def encode_keys(self, batch: Batch, micro_batch_size: int) -> None:
        parts = [self.key(batch.views[1][part]) for part in batch.split(micro_batch_size)]
        self._keys = Keys(
            projections=torch.cat([projections for _, projections, _ in parts]),
            features=torch.cat([features for _, _, features in parts]),
        )

    @torch.no_grad()
    def enqueue_keys(self, labels: Tensor, ranks: Ranks) -> None:
        """Keys of all ranks in rank order, so that the queues stay the same on each."""
        keys = self._take_keys()
        labels = ranks.gather(labels)
        candidates = draw_candidates(
            labels, num_classes=self.num_classes, count=self._num_candidates, seed=self._seed, step=self._step
        )
        projections, projections_valid = candidates.copy(self.projection_queue)
        self.projection_queue.enqueue(ranks.gather(keys.projections), labels)
        self.feature_queue.enqueue(ranks.gather(keys.features), labels)
        features, features_valid = candidates.select(self.feature_queue)
        self._contrasted = Contrasted(candidates, projections, projections_valid, features, features_valid)

    def compute_losses(self, batch: Batch, part: slice) -> dict[str, Tensor]:
        logits, projections, features = self.query(batch.views[0][part])
        labels = batch.labels[part]
        loss_ce = self.criterion(logits, labels)
        loss_cce = self._compute_cce(features, labels)
        loss_ccl = self._compute_ccl(projections, self._take_keys().projections[part], labels)
        loss = loss_ce + self.spec.cce_weight * loss_cce + self.spec.ccl_weight * loss_ccl
        return {"loss": loss, "loss_ce": loss_ce, "loss_cce": loss_cce, "loss_ccl": loss_ccl}

    def _compute_cce(self, features: Tensor, labels: Tensor) -> Tensor:
        it = self._take_contrasted()
        return contrastive_cross_entropy(
            features,
            self._make_anchors(labels),
            it.features,
            it.candidates.locate(labels, self.num_classes),
            it.features_valid,
            temperature=self.spec.temperature,
            log_weights=it.candidates.log_weights,
        )

    def _compute_ccl(self, projections: Tensor, own: Tensor, labels: Tensor) -> Tensor:
        it = self._take_contrasted()
        return categorical_contrastive_loss(
            projections,
            own,
            it.projections,
            it.candidates.locate(labels, self.num_classes),
            it.projections_valid,
            temperature=self.spec.temperature,
            log_weights=it.candidates.log_weights,
        )

    def _make_anchors(self, labels: Tensor) -> Tensor:
        """[W_y ; b_y] with unit length (B, d + 1), cut off from the gradient if so asked."""
        head = self.classifier.head
        weights, biases = head.weight.index_select(0, labels), head.bias.index_select(0, labels)
        anchors = torch.cat([weights, biases.unsqueeze(1)], dim=1).float()
        return functional.normalize(anchors.detach() if self.spec.detach_head else anchors, dim=1)

    def _make_queue(self, width: int, generator: torch.Generator) -> KeyQueue:
        queue = KeyQueue(num_classes=self.num_classes, queue_size=self.spec.queue_size, width=width)
        if self.spec.queue_fill == "noise":
            queue.fill_with_noise(generator)
        return queue

    def _take_keys(self) -> Keys:
        if self._keys is None:
            raise RuntimeError("encode_keys comes first")
        return self._keys

    def _take_contrasted(self) -> Contrasted:
        if self._contrasted is None:
            raise RuntimeError("enqueue_keys comes first")
        return self._contrasted
