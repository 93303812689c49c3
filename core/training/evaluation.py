"""How good a classifier is on samples that it does not learn from."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from core.inference.classifier import Classifier
from core.inference.exported_network import ExportedNetwork, Outputs
from core.inference.normalize import Normalizer
from core.training.data import SampleSet
from core.training.ranks import Ranks

BATCH_SIZE = 64


class Tally(NamedTuple):
    """Of one pass over a split."""

    num_samples: int
    accuracy: float
    loss: float


@torch.inference_mode()
def evaluate(
    classifier: Classifier,
    samples: SampleSet,
    normalize: Normalizer,
    ranks: Ranks,
    *,
    on_batch: Callable[[], None],
) -> Tally:
    """Each rank looks at its part. The classifier is in eval mode, the samples are not none; `on_batch` may raise."""
    device = classifier.head.weight.device
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # samples, right ones, loss
    for start in range(0, len(samples), BATCH_SIZE):
        places = np.arange(start + ranks.rank, min(start + BATCH_SIZE, len(samples)), ranks.size)
        if len(places):  # of the last few samples a rank may get none
            labels = samples.labels[places].to(device)
            logits = classifier(normalize(samples.read_squares(places).to(device))).double()
            right = (logits.argmax(dim=1) == labels).sum()
            loss = functional.cross_entropy(logits, labels, reduction="sum")
            sums += torch.stack([torch.full_like(loss, len(places)), right.double(), loss])
        on_batch()
    ranks.average([sums])
    count, right_count, loss_sum = (sums * ranks.size).tolist()
    return Tally(num_samples=round(count), accuracy=round(right_count) / round(count), loss=loss_sum / round(count))


@torch.inference_mode()
def compute_outputs(
    network: ExportedNetwork, samples: SampleSet, normalize: Normalizer, *, on_batch: Callable[[], None]
) -> Outputs:
    """Of every sample in order, on the CPU. The network is in eval mode; `on_batch` may raise."""
    device = network.head.weight.device
    parts = []
    for start in range(0, len(samples), BATCH_SIZE):
        places = np.arange(start, min(start + BATCH_SIZE, len(samples)))
        parts.append(network(normalize(samples.read_squares(places).to(device))))
        on_batch()
    scores = [part.unknown_scores.cpu() for part in parts if part.unknown_scores is not None]
    logits = torch.cat([part.logits.float().cpu() for part in parts])
    return Outputs(logits, torch.cat(scores) if scores else None)
