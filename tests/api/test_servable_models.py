"""Which model a request names: looked up anew each time, and remembered only so that work can begin."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.orm import Session

from api.servable_models import ServableModels
from api.shared_reads import SharedReads
from core.db.lookups import Lookups
from core.db.session import SessionFactory
from core.db.tables import Model
from core.errors import NotFoundError
from core.keys import ensure_project
from core.models import delete_model
from core.settings import Settings
from core.storage import Storage
from tests.api.served_models import make_state, store_model
from tests.cards import make_card
from tests.pictures import encode, make_picture


class World:
    """A model of the default project."""

    def __init__(self, sessions: SessionFactory, lookups: Lookups, session: Session, model_id: str) -> None:
        self.sessions = sessions
        self.lookups = lookups
        self.model_id = model_id
        self.job_id = session.get_one(Model, model_id).job_id
        self.project_id = ensure_project(session)


@pytest.fixture
def world(settings: Settings, sessions: SessionFactory, storage: Storage, tmp_path: Path) -> Iterator[World]:
    lookups = Lookups(settings.database_url.get_secret_value())
    with sessions.begin() as session:
        model_id = store_model(session, storage, tmp_path, make_card("a", "b"), make_state(2))
        world = World(sessions, lookups, session, model_id)
    yield world
    lookups.close()


def test_model_is_named_by_its_id_or_its_jobs(world: World) -> None:
    async def run() -> list[str]:
        servable = ServableModels(world.lookups, SharedReads())
        return [await servable.find(world.project_id, reference) for reference in (world.model_id, world.job_id)]

    assert asyncio.run(run()) == [world.model_id, world.model_id]


def test_what_was_found_is_remembered_for_its_project_alone(world: World) -> None:
    async def run() -> None:
        servable = ServableModels(world.lookups, SharedReads())
        assert servable.recall(world.project_id, world.job_id) is None
        await servable.find(world.project_id, world.job_id)
        assert servable.recall(world.project_id, world.job_id) == world.model_id
        assert servable.recall("proj_other", world.job_id) is None

    asyncio.run(run())


def test_deleted_model_is_neither_found_nor_remembered(world: World) -> None:
    async def run() -> None:
        servable = ServableModels(world.lookups, SharedReads())
        await servable.find(world.project_id, world.model_id)
        with world.sessions.begin() as session:
            delete_model(session, world.project_id, world.model_id)
        with pytest.raises(NotFoundError):
            await servable.find(world.project_id, world.model_id)
        assert servable.recall(world.project_id, world.model_id) is None

    asyncio.run(run())


def test_picture_that_is_decoded_early_gets_the_same_answer(client: httpx.Client, world: World) -> None:
    """From the second request on the model is known before it was looked up."""
    pictures = [encode(make_picture(seed, (40, 40))) for seed in (0, 1)]
    pictures.insert(1, b"no picture")
    files = [("files", ("picture.png", content)) for content in pictures]
    answers = [client.post("/predict", params={"model": world.job_id}, files=files).json() for _ in range(3)]

    assert [answer["model_id"] for answer in answers] == [world.model_id] * 3
    assert answers[1]["predictions"] == answers[2]["predictions"] == answers[0]["predictions"]
    assert answers[0]["predictions"][1]["error"] is not None
    assert all(answer["timing_ms"]["decode"] > 0 for answer in answers)


def test_picture_by_url_waits_for_the_model_and_keeps_its_place(client: httpx.Client, world: World) -> None:
    """Nothing is decoded early beside it; its host is none that may be asked."""
    sent = base64.b64encode(encode(make_picture(0, (40, 40)))).decode()
    body = {"model": world.model_id, "images": [{"url": "https://127.0.0.1/cell.png"}, {"b64": sent}]}
    answers = [client.post("/predict", json=body).json()["predictions"] for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[1][0]["error"]["code"] == "url_not_allowed"
    assert answers[1][1]["top"] is not None
