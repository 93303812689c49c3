"""Pictures of requests that come at the same time go through a network together."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
    answer: asyncio.Future[PicturePrediction]
    is_over: threading.Event  # of its request: nobody waits for its pictures any longer


class Batcher:
    """No batch waits for company: while all threads compute the next one gathers, so a single client loses no time.

    Models take turns. What waits is shared out among the threads that are idle, and a thread that has computed starts
    the next batch: the event loop may be busy with answers. A batch that is alone has the cores that nobody else uses,
    unless each batch has several anyway.
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
        self._count_idle_cores = count_idle_cores
        self._threads = _make_threads(num_threads, cores=cores_a_batch)
        # Always the same thread: were several to use many cores, OpenMP would let the helpers of each sleep too soon.
        self._lone_thread = _make_threads(1, cores=1) if cores_a_batch == 1 else self._threads
        self._lock = threading.Lock()  # of the next two, which the loop and all threads change
        self._idle = num_threads
        self._waiting: dict[Predictor, deque[_Waiting]] = {}  # whose turn it is stands first

    async def predict(self, predictor: Predictor, pictures: Sequence[NDArray[np.uint8]]) -> list[PicturePrediction]:
        """One for each, in order. Whoever is cancelled takes its pictures out of the batches to come."""
        loop = asyncio.get_running_loop()
        is_over = threading.Event()
        asked = [_Waiting(pixels, loop.create_future(), is_over) for pixels in pictures]
        if asked:
            with self._lock:
                self._waiting.setdefault(predictor, deque()).extend(asked)
                self._start_batches()
        try:
            return list(await asyncio.gather(*(one.answer for one in asked)))
        finally:
            is_over.set()
            for one in asked:
                one.answer.cancel()

    def close(self) -> None:
        with self._lock:
            dropped = [one for queue in self._waiting.values() for one in queue]
            self._waiting.clear()
        for one in dropped:
            one.answer.cancel()
        self._threads.shutdown(cancel_futures=True)
        self._lone_thread.shutdown(cancel_futures=True)

    def _start_batches(self) -> None:
        """Under the lock."""
        while self._waiting and self._idle:
            predictor, batch = self._take_batch()
            if batch:
                self._idle -= 1
                is_alone = not self._waiting and self._idle == self._num_threads - 1
                if is_alone and self._lone_thread is not self._threads:
                    self._lone_thread.submit(self._compute, batch, partial(self._predict_alone, predictor))
                else:
                    self._threads.submit(self._compute, batch, predictor.predict)

    def _take_batch(self) -> tuple[Predictor, list[_Waiting]]:
        predictor = next(iter(self._waiting))
        queue = self._waiting.pop(predictor)
        share = min(self._max_batch, ceil(len(queue) / self._idle))
        batch: list[_Waiting] = []
        while queue and len(batch) < share:
            one = queue.popleft()
            if not one.is_over.is_set():
                batch.append(one)
        if queue:
            self._waiting[predictor] = queue
        return predictor, batch

    def _compute(self, batch: list[_Waiting], predict: Callable[[NDArray[np.uint8]], Predicted]) -> None:
        """In a thread, which starts what comes next before it tells."""
        loop = batch[0].answer.get_loop()
        tell: Callable[[], None]
        try:
            predicted = predict(np.stack([one.pixels for one in batch]))
            tell = partial(_tell, list(zip(batch, predicted.split(), strict=True)))
        except Exception as exc:  # noqa: BLE001 - whatever it is, those hear it who asked
            for one in batch:
                one.is_over.set()
            tell = partial(_tell_error, batch, exc)
        try:
            with self._lock:
                self._idle += 1
                self._start_batches()
        finally:
            loop.call_soon_threadsafe(tell)

    def _predict_alone(self, predictor: Predictor, pixels: NDArray[np.uint8]) -> Predicted:
        with computing_on(_choose_cores(self._count_idle_cores())):
            return predictor.predict(pixels)


def _choose_cores(idle: int) -> int:
    """A power of two: for each number oneDNN prepares all layers anew."""
    return min(MOST_CORES, 1 << (idle.bit_length() - 1))


def _make_threads(count: int, *, cores: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="predict", initializer=use_cores, initargs=(cores,))


def _tell(answered: list[tuple[_Waiting, PicturePrediction]]) -> None:
    for one, prediction in answered:
        if not one.answer.done():
            one.answer.set_result(prediction)


def _tell_error(batch: list[_Waiting], error: Exception) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(error)
