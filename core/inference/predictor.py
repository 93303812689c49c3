"""A finished model, loaded: prepared pixels in, probabilities out."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from core.inference.classifier import Classifier, create_backbone
from core.inference.model_card import ModelCard
from core.inference.normalize import Normalizer, to_channels_first


class Predictor:
    """Safe to call from several threads: it changes nothing."""

    def __init__(self, classifier: Classifier, card: ModelCard, device: torch.device) -> None:
        self._classifier = classifier.eval().to(device)
        self._device = device
        self._temperature = card.temperature
        self._normalize = Normalizer(card.preprocessing, device)

    @classmethod
    def load(cls, weights: Path, card: ModelCard, *, device: str = "cpu") -> "Predictor":
        """Raises ValueError when weights and card do not belong together."""
        classifier = Classifier(
            create_backbone(card.backbone), num_features=card.num_features, num_classes=len(card.classes)
        )
        state = load_file(weights)
        _check_state(state, classifier.state_dict())
        classifier.load_state_dict(state)
        return cls(classifier, card, torch.device(device))

    @property
    def size_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._classifier.state_dict().values())

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, S, S, 3) as `prepare` makes them, to probabilities float32 (N, C)."""
        writable = np.require(pixels, requirements=["C", "W"])  # torch warns of memory that it may not write to
        with torch.inference_mode():
            images = self._normalize(to_channels_first(torch.from_numpy(writable).to(self._device)))
            logits = self._classifier(images).float() / self._temperature
            probabilities: NDArray[np.float32] = logits.softmax(dim=1).cpu().numpy()
        return probabilities


def _check_state(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Names and shapes are equal; the head's rows are the card's classes."""
    shapes = {key: tuple(value.shape) for key, value in given.items()}
    expected = {key: tuple(value.shape) for key, value in wanted.items()}
    wrong = sorted(key for key in shapes.keys() | expected.keys() if shapes.get(key) != expected.get(key))
    if wrong:
        first = wrong[0]
        raise ValueError(f"{len(wrong)} tensors do not fit: {first} is {shapes.get(first)}, not {expected.get(first)}")
