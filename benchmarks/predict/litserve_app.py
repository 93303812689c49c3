"""LitServe with the same weights and decoding: run by the interpreter of a virtual environment that has it.

It predicts with the model as it is, which is what its documentation shows, or with our engine. Its answer is a number
instead of labels: less to render than ours.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args

import litserve
import numpy as np
import torch
from fastapi import Body
from numpy.typing import NDArray
from safetensors.torch import load_file

from benchmarks.predict.floor import BATCH_SIZE, decode
from benchmarks.predict.litserve_server import Engine
from benchmarks.predict.published import ModelFiles
from core.inference.classifier import Classifier, create_backbone
from core.inference.freed_memory import keep_freed_memory
from core.inference.model_card import ModelCard
from core.inference.normalize import Normalizer, to_channels_first
from core.inference.predictor import Predictor

BATCH_TIMEOUT_SECONDS = 0.01


class PredictApi(litserve.LitAPI):  # type: ignore[misc]  # not installed where types are checked
    """The network of timm in eval mode."""

    def __init__(self, files: ModelFiles, threads: int) -> None:
        super().__init__(max_batch_size=BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_SECONDS)
        self._files = files
        self._threads = threads

    def setup(self, device: str) -> None:
        torch.set_num_threads(self._threads)
        card = self._files.read_card()
        self._preprocessing = card.preprocessing
        self._compute = self._load(card, torch.device(device))

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ) -> NDArray[np.uint8]:
        return decode(request, self._preprocessing)

    def predict(self, pixels: NDArray[np.uint8]) -> list[int]:
        """(N, S, S, 3); LitServe has stacked them."""
        self._compute(pixels)
        return list(range(len(pixels)))

    def encode_response(self, output: int) -> dict[str, int]:
        return {"number": output}

    def _load(self, card: ModelCard, device: torch.device) -> Callable[[NDArray[np.uint8]], object]:
        network = Classifier(
            create_backbone(card.backbone), num_features=card.num_features, num_classes=len(card.classes)
        )
        network.load_state_dict(load_file(self._files.weights))
        network.eval().to(device)
        normalize = Normalizer(card.preprocessing, device)

        @torch.inference_mode()
        def compute(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
            images = to_channels_first(torch.from_numpy(pixels)).contiguous().to(device)
            probabilities: NDArray[np.float32] = network(normalize(images)).softmax(dim=1).cpu().numpy()
            return probabilities

        return compute


class EngineApi(PredictApi):
    """Our engine, and what it does to the process."""

    def _load(self, card: ModelCard, device: torch.device) -> Callable[[NDArray[np.uint8]], object]:
        keep_freed_memory()
        return Predictor.load(self._files.weights, card, device=device).predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("card", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("device", choices=["cpu", "cuda"])
    parser.add_argument("workers", type=int)
    parser.add_argument("engine", choices=get_args(Engine))
    options = parser.parse_args()
    make_api = EngineApi if options.engine == "ours" else PredictApi
    threads = max(1, len(os.sched_getaffinity(0)) // options.workers)
    server = litserve.LitServer(
        make_api(ModelFiles(options.weights, options.card), threads),
        accelerator=options.device,
        devices=1,
        workers_per_device=options.workers,
    )
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
