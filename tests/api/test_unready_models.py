"""A model that predict would serve otherwise than it was evaluated is shown, and not served."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from core.db.session import SessionFactory
from core.inference.model_card import Parity
from core.storage import Storage
from tests.api.served_models import make_state, store_model
from tests.cards import make_card
from tests.pictures import encode, make_picture

GOOD = Parity(num_samples=64, agreement=62 / 64, largest_difference=0.1)
BAD = Parity(num_samples=64, agreement=60 / 64, largest_difference=0.7)
PICTURE = encode(make_picture(0, (40, 40)))


Make = Callable[[Parity | None], str]


@pytest.fixture
def make(sessions: SessionFactory, storage: Storage, tmp_path: Path) -> Make:
    """Returns the model's id."""

    def make_model(parity: Parity | None) -> str:
        card = make_card("a", "b").model_copy(update={"parity": parity})
        with sessions.begin() as session:
            return store_model(session, storage, tmp_path, card, make_state(2))

    return make_model


@pytest.mark.parametrize("parity", [GOOD, None], ids=["good", "of before"])
def test_ready_model_is_served(client: httpx.Client, make: Make, parity: Parity | None) -> None:
    model_id = make(parity)

    answer = client.post(f"/models/{model_id}/predict", files={"files": PICTURE})

    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["top"]["label"] in {"a", "b"}
    assert client.get(f"/models/{model_id}").json()["is_ready"]


def test_unready_model_is_refused_by_both_routes(client: httpx.Client, make: Make) -> None:
    model_id = make(BAD)
    job_id = client.get(f"/models/{model_id}").json()["job_id"]

    answers = [
        client.post(f"/models/{model_id}/predict", files={"files": PICTURE}),
        client.post("/predict", files={"files": PICTURE}, params={"model": model_id}),
        client.post("/predict", files={"files": PICTURE}, params={"model": job_id}),
    ]

    for answer in answers:
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "model_not_ready")
        assert "4 of 64 pictures otherwise" in problem["detail"]
        assert "train it again" in problem["hint"]


def test_unready_model_is_shown_with_its_parity(client: httpx.Client, make: Make) -> None:
    model_id, other_id = make(BAD), make(None)

    (other, shown) = client.get("/models").json()["data"]
    assert (shown["id"], shown["is_ready"], shown["parity"]) == (model_id, False, BAD.model_dump())
    assert (other["id"], other["is_ready"], other["parity"]) == (other_id, True, None)
    assert client.get(f"/models/{model_id}").json() == shown
    assert client.get(f"/models/{model_id}/evaluation").status_code == 200
