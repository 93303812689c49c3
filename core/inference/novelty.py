"""Whether a picture is of a kind that the model never saw, by how far it lies from what it learned from.

Bi-tuning draws the projections of a class's pictures together (arXiv 2011.06182), and the last ones of each class, its
keys, come with the model. The score of a picture is 1 − the largest cosine similarity of its projection to a key: near
0 for a picture like those of training, at most 2. The threshold is split conformal (Vovk et al. 2005): of pictures
drawn as those of the validation split were, at most FALSE_ALARM_RATE score above it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.inference.conformal import find_threshold, round_up
from core.specs import ResolvedBiTuningSpec, ResolvedMethodSpec

PREFIX = "novelty."  # of its tensors in `weights.safetensors`
FALSE_ALARM_RATE = 0.05
HIGHEST_SCORE = 2.0


class Novelty(nn.Module):
    """Projector and keys of one encoder; it only reads the features that the head reads too."""

    keys: Tensor  # unit (K, L)

    def __init__(self, projector: nn.Sequential, keys: Tensor) -> None:
        super().__init__()
        self.projector = projector
        self.register_buffer("keys", keys)

    def forward(self, features: Tensor) -> Tensor:
        """Pooled features (N, d) to scores (N,) from 0 to 2."""
        projections = functional.normalize(self.projector(features).float(), dim=1)  # (N, L)
        nearest: Tensor = (projections @ self.keys.T).amax(dim=1)
        return (1 - nearest).clamp(0, HIGHEST_SCORE)


def create_projector(num_features: int, spec: ResolvedBiTuningSpec) -> nn.Sequential:
    """(N, d) to (N, L), random weights: one layer as in the authors' code, or MoCo v2's two (arXiv 2003.04297)."""
    last = nn.Linear(num_features, spec.projection_dim)
    if spec.projector == "linear":
        return nn.Sequential(last)
    return nn.Sequential(nn.Linear(num_features, num_features), nn.ReLU(), last)


def create_novelty(state: dict[str, Tensor], method: ResolvedMethodSpec, num_features: int) -> Novelty | None:
    """To be loaded into from `state`; None where a model has none, by its method or by its age."""
    keys = state.get(f"{PREFIX}keys")
    if keys is None or not isinstance(method, ResolvedBiTuningSpec):
        return None
    return Novelty(create_projector(num_features, method), torch.zeros(len(keys), method.projection_dim))


def find_unknown_threshold(scores: Tensor) -> float:
    """Of the validation pictures' scores (M,): what an unknown picture is above. With too few of them none is."""
    rounded = round_up(scores.double().sort().values.numpy())
    return find_threshold(rounded, 1 - FALSE_ALARM_RATE, highest=HIGHEST_SCORE)
