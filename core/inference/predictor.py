"""A finished model, loaded: prepared pixels in, probabilities and scores out."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from core.inference.classifier import Classifier, create_backbone
from core.inference.exported_network import ExportedNetwork, frame
from core.inference.folding import fold_batch_norm
from core.inference.model_card import ModelCard
from core.inference.normalize import Normalizer, to_channels_first
from core.inference.pointwise import take_pointwise_from_onednn
from core.inference.predicted import Predicted

Precision = Literal["fp32", "bf16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
CPU = torch.device("cpu")


class Predictor:
    """Safe to call from several threads: it changes nothing."""

    def __init__(
        self, network: ExportedNetwork, card: ModelCard, device: torch.device, *, precision: Precision = "fp32"
    ) -> None:
        """Takes the network over."""
        self._network = network.eval()
        self._dtype = DTYPES[precision]
        if device.type == "cpu" and precision == "fp32":
            take_pointwise_from_onednn(network.backbone)
        network.backbone.to(self._dtype)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._device = device
        self._image_size = card.preprocessing.image_size
        self._temperature = card.temperature
        self._normalize = Normalizer(card.preprocessing, device)

    @classmethod
    def load(
        cls, weights: Path, card: ModelCard, *, device: torch.device = CPU, precision: Precision = "fp32"
    ) -> "Predictor":
        """Raises ValueError when weights and card do not belong together."""
        network = _load_network(weights, card)
        if not fold_batch_norm(network.backbone, _make_example(card.preprocessing.image_size)):
            del network  # before there is another
            network = _load_network(weights, card)  # slower, and right
        return cls(network, card, device, precision=precision)

    @property
    def size_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._network.state_dict().values())

    def warm_up(self) -> None:
        """What only the first call costs."""
        self.predict(np.zeros((1, self._image_size, self._image_size, 3), dtype=np.uint8))

    def predict(self, pixels: NDArray[np.uint8]) -> Predicted:
        """uint8 (N, S, S, 3) as `prepare` makes them."""
        writable = np.require(pixels, requirements=["C", "W"])  # torch warns of memory that it may not write to
        with torch.inference_mode():
            images = self._normalize(to_channels_first(torch.from_numpy(writable).to(self._device)))
            outputs = self._network.judge(self._network.backbone(images.to(self._dtype)).float())
            probabilities = (outputs.logits / self._temperature).softmax(dim=1).cpu().numpy()
            scores = outputs.unknown_scores
        return Predicted(probabilities, None if scores is None else scores.cpu().numpy())


def _load_network(weights: Path, card: ModelCard) -> ExportedNetwork:
    """In eval mode."""
    classifier = Classifier(
        create_backbone(card.backbone), num_features=card.num_features, num_classes=len(card.classes)
    )
    state = load_file(weights)
    network = frame(classifier, state)
    _check_state(state, network.state_dict())
    if card.unknown_threshold is not None and network.novelty is None:
        raise ValueError("the card has a threshold for unknown pictures, and the weights hold no keys")
    network.load_state_dict(state)
    return network.eval()


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
