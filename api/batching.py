"""Pictures of requests that come at the same time go through a network together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.inference.compute_threads import computing_on, use_cores
from core.inference.predicted import PicturePrediction, Predicted
from core.inference.predictor import Predictor

MOST_CORES = 8  # for a batch that is alone: what more of them bring was not measured


class _Waiting(NamedTuple):
    pixels: NDArray[np.uint8]  # (S, S, 3)
    answer: asyncio.Future[PicturePrediction]  # cancelled when nobody waits for it any longer


class Batcher:
    """No batch waits for company: while all threads compute the next one gathers, so a single client loses no time.

    Models take turns. What waits is shared out among the threads that are idle. A batch that is alone has the cores
    that nobody else uses, unless each batch has several anyway.
    """

    def __init__(
        self,
        *,
        max_batch: int,
        num_threads: int,
        cores_a_batch: int = 1,
        count_idle_cores: Callable[[], int] = lambda: 1,
    ) -> None:
        self._max_batch = max_batch
        self._num_threads = num_threads
        self._idle = num_threads
        self._count_idle_cores = count_idle_cores
        self._threads = _make_threads(num_threads, cores=cores_a_batch)
        # Always the same thread: were several to use many cores, OpenMP would let the helpers of each sleep too soon.
        self._lone_thread = _make_threads(1, cores=1) if cores_a_batch == 1 else self._threads
        self._waiting: dict[Predictor, deque[_Waiting]] = {}  # whose turn it is stands first
        self._batches: set[asyncio.Task[None]] = set()

    async def predict(self, predictor: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> list[PicturePrediction]:
        """One for each, in order. Whoever is cancelled takes its pictures out of the batches to come."""
        loop = asyncio.get_running_loop()
        asked = [_Waiting(pixels, loop.create_future()) for pixels in pictures]
        if asked:
            self._waiting.setdefault(predictor, deque()).extend(asked)
            self._start_batches()
        try:
            return list(await asyncio.gather(*(one.answer for one in asked)))
        finally:
            for one in asked:
                one.answer.cancel()  # after an error or a hang-up nobody waits for the rest

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._lone_thread.shutdown(cancel_futures=True)

    def _start_batches(self) -> None:
        while self._waiting and self._idle:
            predictor, batch = self._take_batch()
            if batch:
                self._idle -= 1
                task = asyncio.create_task(self._compute(predictor, batch))
                self._batches.add(task)  # the loop itself holds tasks weakly
                task.add_done_callback(self._batches.discard)

    def _take_batch(self) -> tuple[Predictor, list[_Waiting]]:
        predictor = next(iter(self._waiting))
        queue = self._waiting.pop(predictor)
        share = min(self._max_batch, ceil(len(queue) / self._idle))
        batch: list[_Waiting] = []
        while queue and len(batch) < share:
            one = queue.popleft()
            if not one.answer.done():
                batch.append(one)
        if queue:
            self._waiting[predictor] = queue
        return predictor, batch

    async def _compute(self, predictor: Predictor, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        pixels = np.stack([one.pixels for one in batch])
        is_alone = not self._waiting and self._idle == self._num_threads - 1
        if is_alone and self._lone_thread is not self._threads:
            computed = loop.run_in_executor(self._lone_thread, self._predict_alone, predictor, pixels)
        else:
            computed = loop.run_in_executor(self._threads, predictor.predict, pixels)
        await asyncio.wait({computed})
        _tell([one.answer for one in batch], computed)
        self._idle += 1
        self._start_batches()

    def _predict_alone(self, predictor: Predictor, pixels: NDArray[np.uint8]) -> Predicted:
        with computing_on(_choose_cores(self._count_idle_cores())):
            return predictor.predict(pixels)


def _choose_cores(idle: int) -> int:
    """A power of two: for each number oneDNN prepares all layers anew."""
    return min(MOST_CORES, 1 << (idle.bit_length() - 1))


def _make_threads(count: int, *, cores: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="predict", initializer=use_cores, initargs=(cores,))


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
