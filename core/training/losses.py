"""Cross-entropy, and the two contrastive losses of Bi-tuning (arXiv 2011.06182) in one vectorised form.

All of them are computed in float32 at least, whatever autocast says: logits reach 1/τ = 14, where bfloat16 steps by
0.06.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CrossEntropy(nn.Module):
    """The mean over the batch of w_y · CE(logits, y), with smoothed targets (1 − ε) · onehot + ε / C.

    The mean is over samples, not over weights, so that the mean over micro-batches is that over the batch.
    """

    weights: Tensor | None  # (C,)

    def __init__(self, weights: list[float] | None = None, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", None if weights is None else torch.tensor(weights), persistent=False)
        self._label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """logits: (B, C); labels: (B,) int64."""
        losses = functional.cross_entropy(
            logits.float(), labels, label_smoothing=self._label_smoothing, reduction="none"
        )
        return losses.mean() if self.weights is None else (losses * self.weights[labels]).mean()


def contrast(
    own: Tensor, queue_logits: Tensor, labels: Tensor, valid: Tensor, log_weights: Tensor | None = None
) -> Tensor:
    """−1/(1+v) · Σ over own and the v valid keys of the class of log p, the mean over the batch.

    p is the softmax over own and every valid key of every class, so positives compete with each other, and the sum
    stands outside the logarithm. A slot that was never filled is neither positive nor negative.

    own: (B,) logit of the sample's own key (categorical contrastive loss) or of the query itself (contrastive
        cross-entropy); queue_logits: (B, C, K); labels: (B,) int64; valid: (C, K) bool; log_weights: (C,) logarithm
        of how many classes each stands for, where only some of them were sampled.
    """
    weighted = queue_logits if log_weights is None else queue_logits + log_weights.view(1, -1, 1)
    # Where nothing is valid the sum is -inf and its gradient NaN: masked_fill's own gradient leaves zeros.
    masked = weighted.masked_fill(~valid, -torch.inf)
    total = torch.logaddexp(own, torch.logsumexp(masked.flatten(1), dim=1))  # (B,)
    rows = torch.arange(len(labels), device=labels.device)
    positive_valid = valid[labels]  # (B, K)
    positives = queue_logits[rows, labels].masked_fill(~positive_valid, 0).sum(dim=1)
    count = 1 + positive_valid.sum(dim=1)
    return (total - (own + positives) / count).mean()


def categorical_contrastive_loss(
    queries: Tensor,
    own_keys: Tensor,
    queued: Tensor,
    labels: Tensor,
    valid: Tensor,
    *,
    temperature: float,
    log_weights: Tensor | None = None,
) -> Tensor:
    """L_CCL: a query must pick the keys of its class. Reads the queue as it was before this batch.

    queries, own_keys: unit (B, L); queued: unit (C, K, L).
    """
    with torch.autocast(queries.device.type, enabled=False):
        own = (queries * own_keys).sum(dim=1) / temperature
        queue_logits = _compare(queries, queued) / temperature
        return contrast(own, queue_logits, labels, valid, log_weights)


def contrastive_cross_entropy(
    features: Tensor,
    anchors: Tensor,
    queued: Tensor,
    labels: Tensor,
    valid: Tensor,
    *,
    temperature: float,
    log_weights: Tensor | None = None,
) -> Tensor:
    """L_CCE: a class's weight must pick the instances of its class. Reads the queue after this batch went in.

    features: unit, bias-extended (B, d + 1); anchors: unit weight of each sample's class (B, d + 1), without gradient
    in the authors' code, so that only the features learn from it; queued: unit (C, K, d + 1).
    """
    with torch.autocast(features.device.type, enabled=False):
        own = (features * anchors).sum(dim=1) / temperature
        queue_logits = _compare(anchors, queued) / temperature
        return contrast(own, queue_logits, labels, valid, log_weights)


def _compare(vectors: Tensor, queued: Tensor) -> Tensor:
    """Products of (B, D) with every key of (C, K, D): (B, C, K)."""
    # The long factor on the left: MKL takes 6 instead of 8 ms for 48 vectors and 200 classes of 32 keys of 1,281.
    products = queued.flatten(0, 1) @ vectors.t()  # (C · K, B)
    return products.t().reshape(len(vectors), *queued.shape[:2])
