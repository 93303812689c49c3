"""From a model's id to a predictor that has answered once; the api's only door to torch."""

from collections.abc import Callable

import torch
from sqlalchemy import select

from api.model_files import ModelFiles
from core.db.session import SessionFactory
from core.db.tables import Model
from core.errors import NotFoundError
from core.inference.gpu_memory import limit_gpu_memory
from core.inference.model_card import ModelCard
from core.inference.predictor import Predictor
from core.models import require_ready
from core.settings import Settings
from core.storage import Storage


def make_loader(
    settings: Settings, *, sessions: SessionFactory, storage: Storage
) -> Callable[[str], tuple[Predictor, ModelCard]]:
    """Of this host: its processes share what they have fetched."""

    def find_living(model_ids: list[str]) -> set[str]:
        with sessions() as session:
            return set(session.scalars(select(Model.id).where(Model.id.in_(model_ids), Model.deleted_at.is_(None))))

    files = ModelFiles(
        settings.cache_dir / "models",
        storage,
        capacity_bytes=settings.model_files_bytes,
        find_living=find_living,
    )
    device = torch.device(settings.predict_device)
    limit_gpu_memory(device, share=settings.predict_gpu_memory_share)

    def load(model_id: str) -> tuple[Predictor, ModelCard]:
        with sessions() as session:
            row = session.get(Model, model_id)
        if row is None or row.deleted_at is not None:
            raise NotFoundError("model_not_found", f"there is no model '{model_id}'", param="model")
        require_ready(row)
        card = ModelCard.model_validate(row.card)
        with files.opened(model_id, sha256=row.weights_sha256) as path:
            predictor = Predictor.load(path, card, device=device, precision=settings.predict_precision)
        predictor.warm_up()
        return predictor, card

    return load
