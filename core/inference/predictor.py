"""A finished model, loaded: prepared pixels in, probabilities out."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from core.inference.classifier import Classifier, create_backbone
from core.inference.model_card import ModelCard
from core.inference.normalize import Normalizer, to_channels_first


class Predictor:
    """Safe to call from several threads: it changes nothing."""

    def __init__(self, classifier: Classifier, card: ModelCard, device: torch.device) -> None:
        self._classifier = classifier
        self._device = device
        self._normalize = Normalizer(mean=card.preprocessing.mean, std=card.preprocessing.std, device=device)

    @classmethod
    def load(cls, weights: Path, card: ModelCard, *, device: str = "cpu") -> "Predictor":
        """Raises ValueError when weights and card do not belong together."""
        backbone, num_features = create_backbone(card.backbone)
        classifier = Classifier(backbone, num_features=num_features, num_classes=len(card.classes))
        state = load_file(weights)
        if state["head.weight"].shape[0] != len(card.classes):
            raise ValueError(f"{state['head.weight'].shape[0]} head rows for {len(card.classes)} classes")
        classifier.load_state_dict(state)
        classifier.eval().to(torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        return cls(classifier, card, torch.device(device))

    @property
    def size_bytes(self) -> int:
        tensors = [*self._classifier.parameters(), *self._classifier.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, S, S, 3) as `prepare` makes them, to probabilities float32 (N, C)."""
        with torch.inference_mode():
            images = self._normalize(to_channels_first(torch.from_numpy(pixels).to(self._device)))
            probabilities: NDArray[np.float32] = self._classifier(images).float().softmax(dim=1).cpu().numpy()
        return probabilities
