"""Whether a picture is of a kind that the model never saw, by how far it lies from what it learned from.

Pooled features of some training pictures, its keys, come with the model. The score of a picture is 1 − the largest
cosine similarity of its own features to a key: near 0 for a picture like those of training, at most 2. That is deep
nearest neighbours (Sun et al., ICML 2022, arXiv 2204.06507) with one neighbour. The threshold is split conformal (Vovk
et al. 2005): of pictures drawn as those of the validation split were, at most FALSE_ALARM_RATE score above it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.inference.conformal import find_threshold, round_up

KEYS_NAME = "novelty.keys"  # in `weights.safetensors`, float16
FALSE_ALARM_RATE = 0.05
HIGHEST_SCORE = 2.0


class Novelty(nn.Module):
    """It only reads the features that the head reads too, and computes in float32."""

    keys: Tensor  # unit (K, d)

    def __init__(self, keys: Tensor) -> None:
        super().__init__()
        self.register_buffer("keys", keys)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features (N, d) to scores (N,) from 0 to 2."""
        nearest: Tensor = (functional.normalize(features, dim=1) @ self.keys.T).amax(dim=1)
        return (1 - nearest).clamp(0, HIGHEST_SCORE)


def create_novelty(state: dict[str, Tensor], num_features: int) -> Novelty | None:
    """To be loaded into from `state`; None where a model has none."""
    keys = state.get(KEYS_NAME)
    return None if keys is None else Novelty(torch.zeros(len(keys), num_features))


def find_unknown_threshold(scores: Tensor) -> float:
    """Of the validation pictures' scores (M,): what an unknown picture is above. With too few of them none is."""
    rounded = round_up(scores.double().sort().values.numpy())
    return find_threshold(rounded, 1 - FALSE_ALARM_RATE, highest=HIGHEST_SCORE)
