"""Bi-tuning (arXiv 2011.06182): L = L_CE + L_CCE + L_CCL, with keys from a momentum encoder in class-wise queues.

The order of a step is that of the authors' code: momentum update, key forward without gradient, L_CCL on the projector
queue as it was, enqueue, L_CCE on the feature queue as it is now. Where theirs starts with noise, an unfilled slot is
masked; where theirs starts the key encoder's batch norm from the pre-training, ours starts from the query encoder's.
"""

from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional

from core.inference.classifier import Classifier
from core.specs import ResolvedBiTuningSpec
from core.training.losses import categorical_contrastive_loss, contrastive_cross_entropy
from core.training.methods.base import Method
from core.training.methods.key_queue import KeyQueue
from core.training.networks import Encoder


class BiTuning(Method):
    num_views = 2

    def __init__(self, classifier: Classifier, spec: ResolvedBiTuningSpec, generator: torch.Generator) -> None:
        super().__init__()
        self.spec = spec
        self.query = Encoder(classifier, projection_dim=spec.projection_dim, generator=generator)
        self.key = deepcopy(self.query).requires_grad_(requires_grad=False)  # batch-norm statistics too
        num_classes, num_features = classifier.head.weight.shape
        self.feature_queue = KeyQueue(num_classes=num_classes, queue_size=spec.queue_size, width=num_features + 1)
        self.projection_queue = KeyQueue(num_classes=num_classes, queue_size=spec.queue_size, width=spec.projection_dim)

    @property
    def classifier(self) -> Classifier:
        return self.query.classifier

    @torch.no_grad()
    def begin_step(self) -> None:
        """θ_k ← m θ_k + (1 − m) θ_q over the parameters, in one fused call; batch-norm statistics are its own."""
        torch._foreach_lerp_(  # torch has no public name for it
            list(self.key.parameters()), list(self.query.parameters()), 1 - self.spec.encoder_momentum
        )

    def compute_losses(self, views: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        logits, projections, features = self.query(views[0])
        own_projections, own_features = self._make_keys(views[1])
        loss_ccl = categorical_contrastive_loss(
            projections,
            own_projections,
            self.projection_queue.keys.clone(),  # the backward pass needs it as it was
            labels,
            self.projection_queue.valid,
            temperature=self.spec.temperature,
        )
        self.projection_queue.enqueue(own_projections, labels)
        self.feature_queue.enqueue(own_features, labels)
        loss_cce = contrastive_cross_entropy(
            features,
            self._class_weights(),
            self.feature_queue.keys,
            labels,
            self.feature_queue.valid,
            temperature=self.spec.temperature,
        )
        loss_ce = functional.cross_entropy(logits.float(), labels)
        return {"loss": loss_ce + loss_cce + loss_ccl, "loss_ce": loss_ce, "loss_cce": loss_cce, "loss_ccl": loss_ccl}

    @torch.no_grad()
    def _make_keys(self, view: Tensor) -> tuple[Tensor, Tensor]:
        """Unit projections (B, L) and features (B, d + 1) of the key encoder."""
        _, projections, features = self.key(view)
        return projections, features

    def _class_weights(self) -> Tensor:
        """[W ; b] with unit rows (C, d + 1), cut off from the gradient."""
        head = self.classifier.head
        return functional.normalize(torch.cat([head.weight, head.bias.unsqueeze(1)], dim=1).detach().float(), dim=1)
