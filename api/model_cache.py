"""Loaded models, bounded by bytes; the api's only door to torch."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.db.session import SessionFactory
from core.db.tables import Model
from core.errors import NotFoundError, OverloadedError
from core.inference.model_card import ModelCard
from core.inference.predictor import Predictor
from core.models import WEIGHTS_FILE
from core.settings import Settings
from core.storage import Storage
from core.storage_keys import model_prefix

SIMULTANEOUS_LOADS = 2


@dataclass
class LoadedModel:
    """A predictor in use by `users` requests; it is never evicted while there are any."""

    predictor: Predictor
    card: ModelCard
    threads: ThreadPoolExecutor
    users: int = field(default=0)

    async def predict(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Off the event loop; requests to all models share the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, self.predictor.predict, pixels)


class ModelCache:
    """Least recently used goes first, and only when idle; 100 cold requests load a model once."""

    def __init__(self, *, capacity_bytes: int, load: Callable[[str], tuple[Predictor, ModelCard]]) -> None:
        self._capacity_bytes = capacity_bytes
        self._load = load
        self._models: OrderedDict[str, LoadedModel] = OrderedDict()
        self._loading: dict[str, asyncio.Task[LoadedModel]] = {}
        self._loaders = ThreadPoolExecutor(SIMULTANEOUS_LOADS, thread_name_prefix="load-model")
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="predict")  # torch uses the cores by itself

    @classmethod
    def from_settings(cls, settings: Settings, *, sessions: SessionFactory, storage: Storage) -> "ModelCache":
        def load(model_id: str) -> tuple[Predictor, ModelCard]:
            with sessions() as session:
                row = session.get(Model, model_id)
            if row is None or row.deleted_at is not None:
                raise NotFoundError("model_not_found", f"there is no model '{model_id}'", param="model")
            path = settings.cache_dir / "models" / model_id / WEIGHTS_FILE
            if not path.exists():
                storage.download_file(model_prefix(model_id) + WEIGHTS_FILE, path, sha256=row.weights_sha256)
            card = ModelCard.model_validate(row.card)
            return Predictor.load(path, card), card

        return cls(capacity_bytes=settings.model_cache_bytes, load=load)

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

    def discard(self, model_id: str) -> None:
        """Forgets a deleted model; requests that use it still finish."""
        self._models.pop(model_id, None)

    def close(self) -> None:
        self._loaders.shutdown()
        self._threads.shutdown()
        self._models.clear()

    async def _load_once(self, model_id: str) -> LoadedModel:
        """The load belongs to nobody: it goes on when the first who asked has left."""
        task = self._loading.get(model_id)
        if task is None:
            task = asyncio.create_task(self._load_and_keep(model_id))
            self._loading[model_id] = task
            task.add_done_callback(lambda _: self._loading.pop(model_id, None))
        return await asyncio.shield(task)

    async def _load_and_keep(self, model_id: str) -> LoadedModel:
        loop = asyncio.get_running_loop()
        predictor, card = await loop.run_in_executor(self._loaders, self._load, model_id)
        self._make_room(predictor.size_bytes)
        model = LoadedModel(predictor=predictor, card=card, threads=self._threads)
        self._models[model_id] = model
        return model

    def _make_room(self, needed_bytes: int) -> None:
        used = sum(model.predictor.size_bytes for model in self._models.values())
        for model_id, model in list(self._models.items()):
            if used + needed_bytes <= self._capacity_bytes:
                return
            if model.users == 0:
                used -= model.predictor.size_bytes
                del self._models[model_id]
        if used + needed_bytes > self._capacity_bytes:
            raise OverloadedError("models_busy", "every model that is loaded is in use", hint="try again in a moment")
