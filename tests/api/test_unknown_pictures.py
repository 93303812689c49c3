"""Whether a picture is of a kind that the model never saw, over HTTP."""

from pathlib import Path

import httpx
import torch
from torch.nn import functional

from core.db.session import SessionFactory
from core.inference.model_card import ModelCard
from core.storage import Storage
from tests.api.served_models import make_state, store_model
from tests.cards import make_card
from tests.core.training.jobs import describe
from tests.pictures import encode, make_picture

PICTURES = [("files", encode(make_picture(seed, (40, 40)))) for seed in range(3)]


def make_keyed(threshold: float) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    keys = functional.normalize(torch.randn(6, describe().num_features), dim=1).half()
    card = make_card("a", "b").model_copy(update={"unknown_threshold": threshold})
    return card, make_state(2) | {"novelty.keys": keys}


def predict(client: httpx.Client, model_id: str) -> list[dict[str, object]]:
    answer = client.post(f"/models/{model_id}/predict", files=PICTURES)
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, object]] = answer.json()["predictions"]
    return predictions


def test_every_picture_has_a_score_and_a_judgement(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, tmp_path: Path
) -> None:
    with sessions.begin() as session:
        strict = store_model(session, storage, tmp_path, *make_keyed(0.0))
        lenient = store_model(session, storage, tmp_path, *make_keyed(2.0))

    for model_id, is_unknown in ((strict, True), (lenient, False)):
        for prediction in predict(client, model_id):
            assert prediction["is_unknown"] is is_unknown
            assert 0 <= float(str(prediction["unknown_score"])) <= 2


def test_model_without_keys_answers_null(
    client: httpx.Client, sessions: SessionFactory, storage: Storage, tmp_path: Path
) -> None:
    with sessions.begin() as session:
        plain = store_model(session, storage, tmp_path, make_card("a", "b"), make_state(2))

    for prediction in predict(client, plain):
        assert (prediction["unknown_score"], prediction["is_unknown"]) == (None, None)
