"""LitServe with the same weights, decoding and engine: run by the interpreter of a virtual environment that has it.

Its answer is a number instead of labels: less to render than ours.
"""

import argparse
import os
from pathlib import Path
from typing import Annotated

import litserve
import numpy as np
import torch
from fastapi import Body
from numpy.typing import NDArray

from benchmarks.predict.floor import BATCH_SIZE, decode
from benchmarks.predict.published import ModelFiles
from core.inference.predictor import Predictor

BATCH_TIMEOUT_SECONDS = 0.01


class PredictApi(litserve.LitAPI):  # type: ignore[misc]  # not installed where types are checked
    def __init__(self, files: ModelFiles, threads: int) -> None:
        super().__init__(max_batch_size=BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_SECONDS)
        self._files = files
        self._threads = threads

    def setup(self, device: str) -> None:
        torch.set_num_threads(self._threads)
        card = self._files.read_card()
        self._preprocessing = card.preprocessing
        self._predictor = Predictor.load(self._files.weights, card, device=torch.device(device))

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ) -> NDArray[np.uint8]:
        return decode(request, self._preprocessing)

    def predict(self, pixels: NDArray[np.uint8]) -> list[int]:
        """(N, S, S, 3); LitServe has stacked them."""
        self._predictor.predict(pixels)
        return list(range(len(pixels)))

    def encode_response(self, output: int) -> dict[str, int]:
        return {"number": output}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("card", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("device", choices=["cpu", "cuda"])
    parser.add_argument("workers", type=int)
    options = parser.parse_args()
    threads = max(1, len(os.sched_getaffinity(0)) // options.workers)
    server = litserve.LitServer(
        PredictApi(ModelFiles(options.weights, options.card), threads),
        accelerator=options.device,
        devices=1,
        workers_per_device=options.workers,
    )
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
