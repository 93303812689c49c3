"""Of a key that is known a request too many is refused without a look at the database."""

import asyncio

import httpx
import pytest
from sqlalchemy.orm import Session
from starlette.responses import PlainTextResponse

from api.layers import BodyLimits, GateLayer, RequestIdLayer
from api.limits import BURST_SECONDS, RateLimiter
from api.picture_gate import PictureGate
from core.db.session import SessionFactory
from core.keys import NewKey, Principal, authenticate, create_key, ensure_project, revoke_key
from core.quotas import QuotaName, set_quota


class World:
    """A gate before an app that says hello, and how often it looked a key up."""

    def __init__(self, sessions: SessionFactory, limiter: RateLimiter) -> None:
        self.look_ups = 0
        self.gate = PictureGate(max_pictures=4)
        self._sessions = sessions
        with sessions.begin() as session:
            self.project_id = ensure_project(session)
            self.key, self.reading_key = self._make_key(session, "predict"), self._make_key(session, "read")
        layer = GateLayer(
            PlainTextResponse("hello"),
            authenticate=self._authenticate,
            limiter=limiter,
            limits=BodyLimits(upload_bytes=100, predict_bytes=100, json_bytes=100),
            picture_gate=self.gate,
        )
        self._app = RequestIdLayer(layer)

    async def ask(self, secret: str) -> int:
        """The status."""
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            answer = await client.post("/predict", headers={"Authorization": f"Bearer {secret}"})
        return answer.status_code

    def allow(self, requests_per_second: int) -> None:
        with self._sessions.begin() as session:
            set_quota(session, self.project_id, QuotaName.REQUESTS_PER_SECOND, requests_per_second)

    def revoke(self) -> None:
        with self._sessions.begin() as session:
            revoke_key(session, self.project_id, self.key.id)

    def _make_key(self, session: Session, scope: str) -> NewKey:
        return create_key(session, project_id=self.project_id, name="line", scopes=(scope,))

    def _authenticate(self, secret: str) -> Principal:
        self.look_ups += 1
        with self._sessions() as session:
            return authenticate(session, secret)


@pytest.fixture
def world(sessions: SessionFactory, limiter: RateLimiter) -> World:
    return World(sessions, limiter)


def test_known_key_is_refused_without_a_look_up(world: World) -> None:
    async def ask() -> list[int]:
        statuses = [await world.ask(world.key.secret)]
        with world.gate.admit(world.project_id, 4):
            statuses += [await world.ask(world.key.secret) for _ in range(3)]
        return statuses

    assert asyncio.run(ask()) == [200, 429, 429, 429]
    assert world.look_ups == 1


def test_unknown_key_is_told_so_also_when_there_is_no_room(world: World) -> None:
    async def ask() -> int:
        await world.ask(world.key.secret)
        with world.gate.admit(world.project_id, 4):
            return await world.ask("bt_nothing")

    assert asyncio.run(ask()) == 401


def test_revoked_key_is_never_let_in_and_forgotten_once_there_is_room(world: World) -> None:
    async def ask() -> list[int]:
        await world.ask(world.key.secret)
        world.revoke()
        with world.gate.admit(world.project_id, 4):
            statuses = [await world.ask(world.key.secret)]  # nobody looked yet
        statuses.append(await world.ask(world.key.secret))
        with world.gate.admit(world.project_id, 4):
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
        return [await world.ask(world.reading_key.secret) for _ in range(BURST_SECONDS + 1)]

    world.allow(1)
    assert asyncio.run(ask()) == [403] * (BURST_SECONDS + 1)
    limiter.require(world.project_id, 1, is_upload=False)
