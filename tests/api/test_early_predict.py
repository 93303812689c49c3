"""Predict begins while its key is looked up, if the key's last request was admitted; nothing comes of it before."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import pytest
from fastapi import Request
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from api.admission import once_admitted
from api.deadline import Deadlines
from api.limits import RateLimiter
from core.db.session import SessionFactory
from tests.api.gated import PATIENCE_SECONDS, World
from tests.conditions import POLL_SECONDS

ANSWER_SECONDS = 2.0
DEADLINES = Deadlines(answer_seconds=ANSWER_SECONDS, predict_seconds=2 * PATIENCE_SECONDS)


@pytest.fixture
def world(sessions: SessionFactory, limiter: RateLimiter) -> World:
    return World(sessions, limiter)


def test_predict_of_an_admitted_key_begins_while_it_is_looked_up(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        return [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(0, 200), (1, 200)]
    assert len(world.app.began_for) == 2


def test_answer_that_is_ready_before_its_key_was_found_revoked_is_not_sent(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        await world.ask(world.key.secret)
        world.revoke()
        return [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(1, 401), (0, 401)]


def test_what_began_is_broken_off_when_it_is_refused(world: World) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        world.revoke()
        world.app.thinks_seconds = PATIENCE_SECONDS
        _, status = await world.ask_while_held_up(world.key.secret)
        return status, world.app.broken_off

    assert asyncio.run(ask()) == (401, 1)


def test_after_a_request_too_many_nothing_begins_until_one_is_admitted(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        await world.ask(world.key.secret)
        world.allow(0)
        refused = [await world.ask_while_held_up(world.key.secret) for _ in range(2)]
        await world.ask(world.key.secret, path="/keys")  # 403: found, and not admitted
        refused.append(await world.ask_while_held_up(world.key.secret))
        world.allow(1000)
        return refused + [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(1, 429), (0, 429), (0, 429), (0, 200), (1, 200)]


@pytest.mark.parametrize(
    ("path", "content", "headers", "began", "status"),
    [
        ("/models/m/predict", b"x" * 100, {}, 1, 200),
        ("/jobs", b"", {}, 0, 200),
        ("/predict", b"x" * 101, {}, 0, 413),
        ("/predict", b"x", {"Expect": "100-continue"}, 0, 200),
    ],
)
def test_only_predict_with_a_body_on_its_way_of_an_allowed_size_begins(
    world: World, path: str, content: bytes, headers: Mapping[str, str], began: int, status: int
) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        return await world.ask_while_held_up(world.key.secret, path=path, content=content, headers=headers)

    assert asyncio.run(ask()) == (began, status)


def test_key_that_was_admitted_elsewhere_begins_nothing_without_the_scope(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        await world.ask(world.writing_key.secret, path="/uploads")
        return [await world.ask_while_held_up(world.writing_key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(0, 403), (0, 403)]


def test_request_is_not_refused_for_the_room_that_its_own_pictures_take(world: World) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        world.app.pictures = 4
        return await world.ask_while_held_up(world.key.secret)

    assert asyncio.run(ask()) == (1, 200)


def test_key_that_belongs_to_another_project_by_now_is_answered_for_that_alone(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        return [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    asyncio.run(world.ask(world.key.secret))
    other = world.move_key("other")
    assert asyncio.run(ask()) == [(1, 503), (0, 200)]
    assert world.app.began_for == [world.project_id, world.project_id, other]


def test_outage_of_the_database_is_told_and_logged_once(world: World) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        world.outage = OperationalError("SELECT", {}, ConnectionError())
        return await world.ask_while_held_up(world.key.secret)

    with capture_logs() as logs:
        assert asyncio.run(ask()) == (1, 503)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["request_failed"]


@pytest.mark.parametrize(("revokes", "status"), [(False, 500), (True, 401)])
def test_crash_of_what_began_is_told_to_who_is_admitted(world: World, revokes: bool, status: int) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        if revokes:
            world.revoke()
        world.app.crash = RuntimeError("a crash of ours")
        return await world.ask_while_held_up(world.key.secret)

    assert asyncio.run(ask()) == (1, status)


def test_look_up_that_hangs_is_waited_for_no_longer_because_predict_began(world: World) -> None:
    async def ask() -> tuple[int, int]:
        assert await world.ask(world.key.secret) == 200
        world.set_deadlines(DEADLINES)
        world.lets_look_up.clear()
        status = await world.ask(world.key.secret)
        world.lets_look_up.set()
        return len(world.app.began_for), status

    assert asyncio.run(ask()) == (2, 503)


def test_predict_that_began_early_may_take_as_long_as_any(world: World) -> None:
    async def ask() -> tuple[int, int]:
        assert await world.ask(world.key.secret) == 200
        world.set_deadlines(DEADLINES)
        world.app.thinks_seconds = 1.5 * ANSWER_SECONDS
        return await world.ask_while_held_up(world.key.secret)

    assert asyncio.run(ask()) == (1, 200)


def make_request(admitted: asyncio.Event) -> Request:
    return Request({"type": "http", "state": {"admitted": admitted}})


async def find() -> str:
    return "model"


async def fail() -> str:
    raise LookupError


@pytest.mark.parametrize("work", [find, fail])
def test_neither_result_nor_error_is_there_before_the_request_is_admitted(work: Callable[[], Awaitable[str]]) -> None:
    async def wait() -> list[bool]:
        admitted = asyncio.Event()
        waiting = asyncio.ensure_future(once_admitted(make_request(admitted), work()))
        were_done = []
        for _ in range(2):
            await asyncio.wait({waiting}, timeout=POLL_SECONDS)
            were_done.append(waiting.done())
            admitted.set()
        assert isinstance(waiting.exception(), LookupError) or waiting.result() == "model"
        return were_done

    assert asyncio.run(wait()) == [False, True]


def test_work_of_who_is_refused_ends_at_once() -> None:
    async def refuse() -> bool:
        waiting = asyncio.ensure_future(once_admitted(make_request(asyncio.Event()), asyncio.Event().wait()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting}, timeout=ANSWER_SECONDS)
        return waiting.cancelled()

    assert asyncio.run(refuse())
