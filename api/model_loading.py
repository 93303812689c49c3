"""From a model's id to a predictor that has answered once."""

from threading import Lock
from typing import NamedTuple

import torch

from api.model_files import ModelFiles
from core import models
from core.db.session import SessionFactory
from core.inference.compute_threads import use_cores
from core.inference.freed_memory import give_back_freed_memory, keep_freed_memory
from core.inference.gpu_memory import limit_gpu_memory
from core.inference.model_card import ModelCard
from core.inference.predictor import Predictor
from core.settings import Settings
from core.storage import Storage


class FoundModel(NamedTuple):
    """What the database says of a model that can be loaded."""

    id: str
    sha256: str
    size_bytes: int  # loaded, as far as it can be told before
    card: ModelCard


class ModelLoader:
    """Of this process, which it prepares for predicting; what it fetches, the host's processes share."""

    def __init__(self, settings: Settings, *, sessions: SessionFactory, storage: Storage) -> None:
        self._sessions = sessions
        self._precision = settings.predict_precision
        self._device = torch.device(settings.predict_device)
        self._building = Lock()  # one at a time: building takes a model's memory twice
        self._files = ModelFiles(
            settings.cache_dir / "models",
            storage,
            capacity_bytes=settings.model_files_bytes,
            find_living=self._find_living,
        )
        limit_gpu_memory(self._device, share=settings.predict_gpu_memory_share)
        self._cores = settings.predict_threads
        keep_freed_memory()

    def find(self, model_id: str) -> FoundModel:
        """Raises NotFoundError for a model that is gone and ConflictError for one that is not ready."""
        with self._sessions() as session:
            row = models.get_loadable(session, model_id)
        size_bytes = row.weights_size_bytes // (2 if self._precision == "bf16" else 1)
        return FoundModel(row.id, row.weights_sha256, size_bytes, ModelCard.model_validate(row.card))

    def load(self, found: FoundModel) -> Predictor:
        with self._files.opened(found.id, sha256=found.sha256) as path, self._building:
            use_cores(self._cores)
            give_back_freed_memory()  # that of models which made room for this one
            try:
                predictor = Predictor.load(path, found.card, device=self._device, precision=self._precision)
                predictor.warm_up()
            finally:
                give_back_freed_memory()
        return predictor

    def _find_living(self, model_ids: list[str]) -> set[str]:
        with self._sessions() as session:
            return models.find_living(session, model_ids)
