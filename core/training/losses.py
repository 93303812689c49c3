"""The two contrastive losses of Bi-tuning (arXiv 2011.06182), in one vectorised form with a validity mask."""

import torch
from torch import Tensor


def contrast(own: Tensor, queue_logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    """−1/(1+v) · Σ over own and the v valid keys of the class of log p, the mean over the batch.

    p is the softmax over own and every valid key of every class, so positives compete with each other, and the sum
    stands outside the logarithm. A slot that was never filled is neither positive nor negative.

    own: (B,) logit of the sample's own key (categorical contrastive loss) or of the query itself (contrastive
        cross-entropy); queue_logits: (B, C, K); labels: (B,) int64; valid: (C, K) bool.
    """
    masked = queue_logits.masked_fill(~valid, -torch.inf)
    total = torch.logsumexp(torch.cat([own.unsqueeze(1), masked.flatten(1)], dim=1), dim=1)  # (B,)
    rows = torch.arange(len(labels), device=labels.device)
    positive_valid = valid[labels]  # (B, K)
    positives = queue_logits[rows, labels].masked_fill(~positive_valid, 0).sum(dim=1)
    count = 1 + positive_valid.sum(dim=1)
    return (total - (own + positives) / count).mean()


def categorical_contrastive_loss(
    queries: Tensor, own_keys: Tensor, queued: Tensor, labels: Tensor, valid: Tensor, *, temperature: float
) -> Tensor:
    """L_CCL: a query must pick the keys of its class. Reads the queue as it was before this batch.

    queries, own_keys: unit (B, L); queued: unit (C, K, L).
    """
    own = (queries * own_keys).sum(dim=1) / temperature
    queue_logits = torch.einsum("bl,ckl->bck", queries, queued) / temperature
    return contrast(own, queue_logits, labels, valid)


def contrastive_cross_entropy(
    features: Tensor, class_weights: Tensor, queued: Tensor, labels: Tensor, valid: Tensor, *, temperature: float
) -> Tensor:
    """L_CCE: a class's weight must pick the instances of its class. Reads the queue after this batch went in.

    features: unit, bias-extended (B, d + 1); class_weights: unit (C, d + 1), without gradient as in the authors' code,
    so that only the features learn from it; queued: unit (C, K, d + 1).
    """
    anchors = class_weights[labels]  # (B, d + 1)
    own = (features * anchors).sum(dim=1) / temperature
    queue_logits = torch.einsum("bd,ckd->bck", anchors, queued) / temperature
    return contrast(own, queue_logits, labels, valid)
