"""Loaded models, bounded by bytes."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from api.batching import Batcher
from api.model_loading import FoundModel
from core.errors import ConflictError, OverloadedError
from core.inference.model_card import ModelCard
from core.inference.predicted import PicturePrediction
from core.inference.predictor import Predictor

SIMULTANEOUS_LOADS = 2
FAILURE_SECONDS = 10.0  # for which a load that failed is not tried again
MAX_FAULTS = 3  # answers that are no numbers, after which a model is not asked any more


@dataclass
class LoadedModel:
    """A predictor in use by `users` requests; it is never evicted while there are any."""

    predictor: Predictor
    card: ModelCard
    batcher: Batcher
    users: int = field(default=0)
    faults: int = field(default=0)

    async def predict(self, pictures: Sequence[NDArray[np.uint8]]) -> list[PicturePrediction]:
        """One for each; raises ConflictError for a model whose answers are no numbers."""
        if self.faults >= MAX_FAULTS:
            raise _faulty()
        predictions = await self.batcher.predict(self.predictor, pictures)
        if not all(np.isfinite(one.probabilities).all() for one in predictions):
            self.faults += 1
            raise _faulty()
        return predictions


class Loader(Protocol):
    """Blocks; the cache calls it from threads of its own."""

    def find(self, model_id: str) -> FoundModel: ...

    def load(self, found: FoundModel) -> Predictor: ...


class ModelCache:
    """Least recently used goes first, and only when idle; 100 cold requests load a model once, or hear once why not.

    Others make room before a model is loaded, not after.
    """

    def __init__(
        self,
        *,
        capacity_bytes: int,
        loader: Loader,
        batcher: Batcher,
        failure_seconds: float = FAILURE_SECONDS,
    ) -> None:
        self._capacity_bytes = capacity_bytes
        self._loader = loader
        self._batcher = batcher
        self._failure_seconds = failure_seconds
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self._turns = asyncio.Semaphore(SIMULTANEOUS_LOADS)
        self._reserved_bytes = 0  # for those whose turn it is
        self._load_ended = asyncio.Condition()
        self._failures: dict[str, Exception] = {}  # of the last seconds
        self._loaders = ThreadPoolExecutor(SIMULTANEOUS_LOADS, thread_name_prefix="load-model")

    @asynccontextmanager
    async def use(self, model_id: str) -> AsyncIterator[LoadedModel]:
        """Pins the model for the block; raises OverloadedError when there is no room for it."""
        model = self._models.get(model_id) or await self._load_once(model_id)
        model.users += 1
        if model_id in self._models:
            self._models.move_to_end(model_id)
        try:
            yield model
        finally:
            model.users -= 1

    def is_warm(self, model_id: str) -> bool:
        """Whether this process would answer without loading it."""
        return model_id in self._models

    def get_card(self, model_id: str) -> ModelCard | None:
        """Of a model that is loaded."""
        model = self._models.get(model_id)
        return None if model is None else model.card

    def discard(self, model_id: str) -> None:
        """Forgets a deleted model; requests that use it still finish."""
        self._models.pop(model_id, None)

    def close(self) -> None:
        self._loaders.shutdown()
        self._batcher.close()
        self._models.clear()

    async def _load_once(self, model_id: str) -> LoadedModel:
        """The load belongs to nobody: it goes on when the first who asked has left."""
        self._raise_recent_failure(model_id)
        task = self._loading.get(model_id)
        if task is None:
            task = asyncio.create_task(self._load_and_keep(model_id))
            self._loading[model_id] = task
            task.add_done_callback(lambda ended: self._end_loading(model_id, ended))
        return await asyncio.shield(task)

    def _raise_recent_failure(self, model_id: str) -> None:
        """Its traceback would keep each refused request, pictures and all."""
        if error := self._failures.get(model_id):
            raise error.with_traceback(None)

    def _end_loading(self, model_id: str, ended: asyncio.Task[LoadedModel]) -> None:
        del self._loading[model_id]
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, Exception) and not isinstance(error, OverloadedError):  # there may be room at once
            self._failures[model_id] = error
            asyncio.get_running_loop().call_later(self._failure_seconds, self._failures.pop, model_id, None)

    async def _load_and_keep(self, model_id: str) -> LoadedModel:
        loop = asyncio.get_running_loop()
        async with self._turns:
            found = await loop.run_in_executor(self._loaders, self._loader.find, model_id)
            async with self._reserved(found.size_bytes):
                predictor = await loop.run_in_executor(self._loaders, self._loader.load, found)
                self._evict_until_free(max(0, predictor.size_bytes - found.size_bytes))  # if it can be: it is there
                model = LoadedModel(predictor, found.card, self._batcher)
                self._models[model_id] = model
        return model

    @asynccontextmanager
    async def _reserved(self, needed_bytes: int) -> AsyncIterator[None]:
        """Waits where another load has the room that is missing: its model may be idle when it is there."""
        async with self._load_ended:
            await self._load_ended.wait_for(lambda: not self._reserved_bytes or self._could_free(needed_bytes))
            self._make_room(needed_bytes)
            self._reserved_bytes += needed_bytes
        try:
            yield
        finally:
            self._reserved_bytes -= needed_bytes
            async with self._load_ended:
                self._load_ended.notify_all()

    def _make_room(self, needed_bytes: int) -> None:
        if needed_bytes > self._capacity_bytes:
            raise ConflictError(
                "model_too_large",
                f"the model takes {needed_bytes} bytes, and {self._capacity_bytes} are there for models",
                hint="ask the operator to raise BITUNE_MODEL_CACHE_BYTES",
            )
        self._evict_until_free(needed_bytes)
        if self._free_bytes() < needed_bytes:
            raise OverloadedError("models_busy", "every model that is loaded is in use", hint="try again in a moment")

    def _evict_until_free(self, needed_bytes: int) -> None:
        for model_id, model in list(self._models.items()):
            if self._free_bytes() >= needed_bytes:
                return
            if model.users == 0:
                del self._models[model_id]

    def _could_free(self, needed_bytes: int) -> bool:
        idle_bytes = sum(model.predictor.size_bytes for model in self._models.values() if model.users == 0)
        return self._free_bytes() + idle_bytes >= needed_bytes

    def _free_bytes(self) -> int:
        used_bytes = sum(model.predictor.size_bytes for model in self._models.values())
        return self._capacity_bytes - self._reserved_bytes - used_bytes


def _faulty() -> ConflictError:
    return ConflictError(
        "model_faulty", "the model's answer is not a number", hint="train it again; do not use its weights"
    )
