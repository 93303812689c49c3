"""A finished model, loaded: prepared pixels in, probabilities out."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from core.inference.classifier import Classifier, create_backbone
from core.inference.folding import fold_batch_norm
from core.inference.model_card import ModelCard
from core.inference.normalize import Normalizer, to_channels_first

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Predictor:
    """Safe to call from several threads: it changes nothing."""

    def __init__(
        self, classifier: Classifier, card: ModelCard, device: torch.device, *, precision: Precision = "fp32"
    ) -> None:
        self._dtype = DTYPES[precision]
        backbone = fold_batch_norm(classifier.backbone.eval(), _make_example(card.preprocessing.image_size))
        self._backbone = backbone.to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._head = classifier.head.eval().to(device)
        self._device = device
        self._image_size = card.preprocessing.image_size
        self._temperature = card.temperature
        self._normalize = Normalizer(card.preprocessing, device)

    @classmethod
    def load(cls, weights: Path, card: ModelCard, *, device: str = "cpu", precision: Precision = "fp32") -> "Predictor":
        """Raises ValueError when weights and card do not belong together."""
        classifier = Classifier(
            create_backbone(card.backbone), num_features=card.num_features, num_classes=len(card.classes)
        )
        state = load_file(weights)
        _check_state(state, classifier.state_dict())
        classifier.load_state_dict(state)
        return cls(classifier, card, torch.device(device), precision=precision)

    @property
    def size_bytes(self) -> int:
        states = (*self._backbone.state_dict().values(), *self._head.state_dict().values())
        return sum(tensor.nbytes for tensor in states)

    def warm_up(self) -> None:
        """What only the first call costs."""
        self.predict(np.zeros((1, self._image_size, self._image_size, 3), dtype=np.uint8))

    def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (N, S, S, 3) as `prepare` makes them, to probabilities float32 (N, C)."""
        writable = np.require(pixels, requirements=["C", "W"])  # torch warns of memory that it may not write to
        with torch.inference_mode():
            images = self._normalize(to_channels_first(torch.from_numpy(writable).to(self._device)))
            logits = self._head(self._backbone(images.to(self._dtype)).float())
            probabilities: NDArray[np.float32] = (logits / self._temperature).softmax(dim=1).cpu().numpy()
        return probabilities


def _make_example(image_size: int) -> Tensor:
    """Something that every layer answers to."""
    return torch.randn(1, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))


def _check_state(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Names and shapes are equal; the head's rows are the card's classes."""
    shapes = {key: tuple(value.shape) for key, value in given.items()}
    expected = {key: tuple(value.shape) for key, value in wanted.items()}
    wrong = sorted(key for key in shapes.keys() | expected.keys() if shapes.get(key) != expected.get(key))
    if wrong:
        first = wrong[0]
        raise ValueError(f"{len(wrong)} tensors do not fit: {first} is {shapes.get(first)}, not {expected.get(first)}")
