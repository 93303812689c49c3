"""Pictures of requests that come at the same time go through a network together."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.inference.predicted import PicturePrediction, Predicted
from core.inference.predictor import Predictor


class _Waiting(NamedTuple):
    pixels: NDArray[np.uint8]  # (S, S, 3)
    answer: asyncio.Future[PicturePrediction]  # cancelled when nobody waits for it any longer


class Batcher:
    """No batch waits for company: while one is computed the next one gathers, so a single client loses no time.

    Models take turns. One thread computes, for torch takes all cores by itself.
    """

    def __init__(self, *, max_batch: int) -> None:
        self._max_batch = max_batch
        self._waiting: dict[Predictor, deque[_Waiting]] = {}  # whose turn it is stands first
        self._work: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    async def predict(self, predictor: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> list[PicturePrediction]:
        """One for each, in order. Whoever is cancelled takes its pictures out of the batches to come."""
        loop = asyncio.get_running_loop()
        asked = [_Waiting(pixels, loop.create_future()) for pixels in pictures]
        self._waiting.setdefault(predictor, deque()).extend(asked)
        if self._work is None:
            self._work = asyncio.create_task(self._work_off())
        return list(await asyncio.gather(*(one.answer for one in asked)))

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                predictor, batch = self._take_batch()
                if batch:
                    await self._compute(predictor, batch)
        finally:
            self._work = None

    def _take_batch(self) -> tuple[Predictor, list[_Waiting]]:
        predictor = next(iter(self._waiting))
        queue = self._waiting.pop(predictor)
        batch: list[_Waiting] = []
        while queue and len(batch) < self._max_batch:
            one = queue.popleft()
            if not one.answer.done():
                batch.append(one)
        if queue:
            self._waiting[predictor] = queue
        return predictor, batch

    async def _compute(self, predictor: Predictor, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        pixels = np.stack([one.pixels for one in batch])
        computed = loop.run_in_executor(self._thread, predictor.predict, pixels)
        await asyncio.wait({computed})
        _tell([one.answer for one in batch], computed)


def _tell(answers: list[asyncio.Future[PicturePrediction]], computed: asyncio.Future[Predicted]) -> None:
    """What a batch brought, an error too, to those of it who still wait."""
    if error := computed.exception():
        for answer in answers:
            if not answer.done():
                answer.set_exception(error)
        return
    for answer, prediction in zip(answers, computed.result().split(), strict=True):
        if not answer.done():
            answer.set_result(prediction)
