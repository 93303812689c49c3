"""Who waits is woken by what it waits for, and by nothing else."""

import asyncio
import threading

import pytest
from sqlalchemy.orm import Session

from api.run_watch import MAX_WAITING_OF_PROJECT, RunWatch, Version
from core.db.session import SessionFactory
from core.errors import OverloadedError
from core.keys import ALL_SCOPES, Principal, create_key
from core.runs import claims
from tests.factories import claim_run, make_project, make_run

SOON_SECONDS = 0.3  # less than the rest between two rounds


class SlowDatabase:
    """Opens sessions once the test lets it."""

    def __init__(self, sessions: SessionFactory) -> None:
        self._sessions = sessions
        self.is_asked = threading.Event()
        self.answers = threading.Event()

    def __call__(self) -> Session:
        self.is_asked.set()
        assert self.answers.wait(10)
        return self._sessions()


@pytest.fixture
def principal(sessions: SessionFactory) -> Principal:
    with sessions.begin() as session:
        project_id = make_project(session)
        key = create_key(session, project_id=project_id, name="reader", scopes=ALL_SCOPES)
        return Principal(key.id, project_id, frozenset(ALL_SCOPES), None)


@pytest.fixture
def run_ids(sessions: SessionFactory, principal: Principal) -> list[str]:
    with sessions.begin() as session:
        return [make_run(session, project_id=principal.project_id).id for _ in range(2)]


def has_changed(version: Version) -> bool:
    return version.event_seq > 1


def test_who_comes_during_a_round_is_not_woken_by_it(
    sessions: SessionFactory, principal: Principal, run_ids: list[str]
) -> None:
    async def wait() -> int | None:
        database = SlowDatabase(sessions)
        watch = RunWatch(database)  # type: ignore[arg-type]  # it only opens sessions
        first = asyncio.create_task(watch.wait(principal, run_ids[0], has_changed, seconds=10))
        await asyncio.to_thread(database.is_asked.wait, 10)
        second = asyncio.create_task(watch.wait(principal, run_ids[1], has_changed, seconds=SOON_SECONDS))
        await asyncio.sleep(0.05)  # for it to have come
        database.answers.set()
        woken = await second
        first.cancel()
        watch.close()
        return woken

    assert asyncio.run(wait()) is None


def test_change_wakes_who_waits_for_it(sessions: SessionFactory, principal: Principal, run_ids: list[str]) -> None:
    def change() -> None:
        with sessions.begin() as session:
            claims.note(session, claim_run(session), "note", "something happened")

    async def wait() -> int | None:
        watch = RunWatch(sessions)
        waiting = asyncio.create_task(watch.wait(principal, run_ids[0], has_changed, seconds=10))
        await asyncio.to_thread(change)
        woken = await waiting
        watch.close()
        return woken

    assert asyncio.run(wait()) is not None


def test_one_project_leaves_places_to_others(sessions: SessionFactory, principal: Principal) -> None:
    other = principal._replace(project_id="proj_other")

    async def fill() -> None:
        watch = RunWatch(sessions)
        waits = [
            asyncio.create_task(watch.wait(principal, "run_x", has_changed, seconds=10))
            for _ in range(MAX_WAITING_OF_PROJECT)
        ]
        await asyncio.sleep(0)  # all of them have come
        with pytest.raises(OverloadedError):
            watch.require_room(principal)
        watch.require_room(other)
        for wait in waits:
            wait.cancel()
        watch.close()

    asyncio.run(fill())
