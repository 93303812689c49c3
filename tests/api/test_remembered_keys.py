"""Of a key that is known a request too many is refused without a look at the database."""

import asyncio

import pytest

from api.limits import BURST_SECONDS, RateLimiter
from core.db.session import SessionFactory
from tests.api.gated import World


@pytest.fixture
def world(sessions: SessionFactory, limiter: RateLimiter) -> World:
    return World(sessions, limiter)


def test_known_key_is_refused_without_a_look_up(world: World) -> None:
    async def ask() -> list[int]:
        statuses = [await world.ask(world.key.secret)]
        with world.picture_gate.hold(world.project_id, 4):
            statuses += [await world.ask(world.key.secret) for _ in range(3)]
        return statuses

    assert asyncio.run(ask()) == [200, 429, 429, 429]
    assert world.look_ups == 1


def test_unknown_key_is_told_so_also_when_there_is_no_room(world: World) -> None:
    async def ask() -> int:
        await world.ask(world.key.secret)
        with world.picture_gate.hold(world.project_id, 4):
            return await world.ask("bt_nothing")

    assert asyncio.run(ask()) == 401


def test_revoked_key_is_never_let_in_and_forgotten_once_there_is_room(world: World) -> None:
    async def ask() -> list[int]:
        await world.ask(world.key.secret)
        world.revoke()
        with world.picture_gate.hold(world.project_id, 4):
            statuses = [await world.ask(world.key.secret)]  # nobody looked yet
        statuses.append(await world.ask(world.key.secret))
        with world.picture_gate.hold(world.project_id, 4):
            statuses.append(await world.ask(world.key.secret))
        return statuses

    assert asyncio.run(ask()) == [429, 401, 401]


def test_request_of_a_known_key_is_counted_once(world: World) -> None:
    async def ask() -> list[int]:
        return [await world.ask(world.key.secret) for _ in range(BURST_SECONDS + 1)]

    world.allow(1)
    assert asyncio.run(ask()) == [200] * BURST_SECONDS + [429]


def test_new_quota_holds_for_the_next_request(world: World) -> None:
    async def ask() -> list[int]:
        statuses = [await world.ask(world.key.secret)]
        world.allow(0)
        return [*statuses, await world.ask(world.key.secret)]

    world.allow(1000)
    assert asyncio.run(ask()) == [200, 429]


def test_revoked_key_is_told_so_also_when_its_project_sent_too_much(world: World) -> None:
    async def ask() -> list[int]:
        statuses = [await world.ask(world.key.secret) for _ in range(BURST_SECONDS + 1)]
        world.revoke()
        return [*statuses[-1:], await world.ask(world.key.secret)]

    world.allow(1)
    assert asyncio.run(ask()) == [429, 401]


def test_request_without_its_scope_is_not_counted(world: World, limiter: RateLimiter) -> None:
    async def ask() -> list[int]:
        return [await world.ask(world.writing_key.secret) for _ in range(BURST_SECONDS + 1)]

    world.allow(1)
    assert asyncio.run(ask()) == [403] * (BURST_SECONDS + 1)
    limiter.require(world.project_id, 1, is_upload=False)
