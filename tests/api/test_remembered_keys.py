"""What a key that was found before may do until it is found again: hear a refusal, and begin predict."""

import asyncio
import threading

import httpx
import pytest
from sqlalchemy.orm import Session
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from api.deadline import DeadlineLayer, Deadlines
from api.gate import BodyLimits, GateLayer
from api.limits import BURST_SECONDS, RateLimiter
from api.picture_gate import PictureGate
from api.request_ids import RequestIdLayer
from core.db.session import SessionFactory
from core.keys import NewKey, Principal, authenticate, create_key, ensure_project, revoke_key
from core.quotas import QuotaName, set_quota
from tests.conditions import POLL_SECONDS

PATIENCE_SECONDS = 10.0
ANSWER_SECONDS = 1.0
MANY_TURNS = 100  # of the event loop: whatever could begin has begun


class App:
    """Thinks, holds pictures, says hello; knows how often it began and was broken off."""

    def __init__(self, gate: PictureGate) -> None:
        self._gate = gate
        self.began = 0
        self.broken_off = 0
        self.thinks_seconds = 0.0
        self.pictures = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began += 1
        try:
            await asyncio.sleep(self.thinks_seconds)
            with self._gate.admit(scope["state"]["principal"].project_id, self.pictures):
                await PlainTextResponse("hello")(scope, receive, send)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise


class World:
    """A gate before an app, and a database whose look-ups can be held up."""

    def __init__(self, sessions: SessionFactory, limiter: RateLimiter) -> None:
        self.look_ups = 0
        self.gate = PictureGate(max_pictures=4)
        self.app = App(self.gate)
        self.lets_look_up = threading.Event()
        self.lets_look_up.set()
        self._sessions = sessions
        with sessions.begin() as session:
            self.project_id = ensure_project(session)
            self.key, self.reading_key = self._make_key(session, "predict", "write"), self._make_key(session, "read")
        layer = GateLayer(
            self.app,
            authenticate=self._authenticate,
            limiter=limiter,
            limits=BodyLimits(upload_bytes=100, predict_bytes=100, json_bytes=100),
            picture_gate=self.gate,
        )
        deadlines = Deadlines(answer_seconds=ANSWER_SECONDS, predict_seconds=3 * PATIENCE_SECONDS)
        self._app = RequestIdLayer(DeadlineLayer(layer, deadlines))

    async def ask(self, secret: str, *, path: str = "/predict", content: bytes = b"") -> int:
        """The status."""
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            answer = await client.post(path, content=content, headers={"Authorization": f"Bearer {secret}"})
        return answer.status_code

    def allow(self, requests_per_second: int) -> None:
        with self._sessions.begin() as session:
            set_quota(session, self.project_id, QuotaName.REQUESTS_PER_SECOND, requests_per_second)

    async def ask_while_held_up(self, secret: str, *, path: str = "/predict", content: bytes = b"") -> tuple[int, int]:
        """How often the app began before the key was looked up, and the status thereafter."""
        looked_up, began = self.look_ups, self.app.began
        self.lets_look_up.clear()
        asked = asyncio.create_task(self.ask(secret, path=path, content=content))
        while self.look_ups == looked_up:
            await asyncio.sleep(POLL_SECONDS)
        for _ in range(MANY_TURNS):
            await asyncio.sleep(0)
        began = self.app.began - began
        assert not asked.done()
        self.lets_look_up.set()
        return began, await asked

    def revoke(self) -> None:
        with self._sessions.begin() as session:
            revoke_key(session, self.project_id, self.key.id)

    def _make_key(self, session: Session, *scopes: str) -> NewKey:
        return create_key(session, project_id=self.project_id, name="line", scopes=scopes)

    def _authenticate(self, secret: str) -> Principal:
        self.look_ups += 1
        assert self.lets_look_up.wait(PATIENCE_SECONDS)
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


def test_predict_of_a_known_key_begins_while_it_is_looked_up_and_is_answered_thereafter(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        return [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(0, 200), (1, 200)]


def test_begun_predict_is_broken_off_when_its_key_was_revoked(world: World) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        world.revoke()
        world.app.thinks_seconds = PATIENCE_SECONDS
        _, status = await world.ask_while_held_up(world.key.secret)
        return status, world.app.broken_off

    assert asyncio.run(ask()) == (401, 1)


def test_answer_that_is_ready_before_its_key_was_found_revoked_is_not_sent(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        await world.ask(world.key.secret)
        world.revoke()
        return [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(1, 401), (0, 401)]


def test_look_up_that_hangs_is_waited_for_no_longer_because_predict_began(world: World) -> None:
    async def ask() -> int:
        await world.ask(world.key.secret)
        world.lets_look_up.clear()
        status = await world.ask(world.key.secret)
        world.lets_look_up.set()
        return status

    assert asyncio.run(ask()) == 503


def test_predict_that_began_early_may_take_as_long_as_any(world: World) -> None:
    async def ask() -> int:
        await world.ask(world.key.secret)
        world.app.thinks_seconds = 1.5 * ANSWER_SECONDS
        return await world.ask(world.key.secret)

    assert asyncio.run(ask()) == 200


def test_after_a_request_too_many_nothing_begins_until_one_is_let_in(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        for _ in range(BURST_SECONDS):
            await world.ask(world.key.secret)
        refused = [await world.ask_while_held_up(world.key.secret) for _ in range(2)]
        world.allow(1000)
        return refused + [await world.ask_while_held_up(world.key.secret) for _ in range(2)]

    world.allow(1)
    assert asyncio.run(ask()) == [(1, 429), (0, 429), (0, 200), (1, 200)]


@pytest.mark.parametrize(
    ("path", "content", "began", "status"),
    [("/jobs", b"", 0, 200), ("/predict", b"x" * 101, 0, 413), ("/models/m/predict", b"", 1, 200)],
)
def test_only_predict_of_an_allowed_size_begins(
    world: World, path: str, content: bytes, began: int, status: int
) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        return await world.ask_while_held_up(world.key.secret, path=path, content=content)

    assert asyncio.run(ask()) == (began, status)


def test_key_without_the_scope_begins_nothing(world: World) -> None:
    async def ask() -> list[tuple[int, int]]:
        return [await world.ask_while_held_up(world.reading_key.secret) for _ in range(2)]

    assert asyncio.run(ask()) == [(0, 403), (0, 403)]


def test_request_is_not_refused_for_the_room_that_its_own_pictures_take(world: World) -> None:
    async def ask() -> tuple[int, int]:
        await world.ask(world.key.secret)
        world.app.pictures = 4
        return await world.ask_while_held_up(world.key.secret)

    assert asyncio.run(ask()) == (1, 200)
