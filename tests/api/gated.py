"""A gate before an app, on the real database and broker."""

import asyncio
import threading
from collections.abc import Mapping

import httpx
from sqlalchemy import update
from sqlalchemy.orm import Session
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.admission import Admission
from api.deadline import DeadlineLayer, Deadlines
from api.gate import BodyLimits, GateLayer
from api.limits import RateLimiter
from api.picture_gate import PictureGate
from api.request_ids import RequestIdLayer
from core.db.session import SessionFactory
from core.db.tables import Key
from core.keys import NewKey, Principal, authenticate, create_key, ensure_project, revoke_key
from core.quotas import QuotaName, set_quota
from tests.conditions import POLL_SECONDS

PATIENCE_SECONDS = 30.0
MANY_TURNS = 100  # of the event loop: whatever could begin has begun


class App:
    """Thinks, holds pictures, says hello; knows for whom it began, and how often it was broken off."""

    def __init__(self, picture_gate: PictureGate) -> None:
        self._picture_gate = picture_gate
        self.began_for: list[str] = []  # projects
        self.broken_off = 0
        self.thinks_seconds = 0.0
        self.pictures = 0
        self.crash: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        project_id = scope["state"]["principal"].project_id
        self.began_for.append(project_id)
        try:
            await asyncio.sleep(self.thinks_seconds)
            if self.crash is not None:
                raise self.crash
            with self._picture_gate.hold(project_id, self.pictures):
                await PlainTextResponse("hello")(scope, receive, send)
        except asyncio.CancelledError:
            self.broken_off += 1
            raise


class World:
    """Its look-ups can be held up, and can fail."""

    def __init__(self, sessions: SessionFactory, limiter: RateLimiter) -> None:
        self.look_ups = 0
        self.picture_gate = PictureGate(max_pictures=4)
        self.app = App(self.picture_gate)
        self.lets_look_up = threading.Event()
        self.lets_look_up.set()
        self.outage: Exception | None = None
        self._sessions = sessions
        with sessions.begin() as session:
            self.project_id = ensure_project(session)
            self.key, self.writing_key = self._make_key(session, "predict", "write"), self._make_key(session, "write")
        admission = Admission(authenticate=self._authenticate, limiter=limiter, picture_gate=self.picture_gate)
        limits = BodyLimits(upload_bytes=100, predict_bytes=100, json_bytes=100)
        self._layer: ASGIApp = GateLayer(self.app, admission=admission, limits=limits)

    def set_deadlines(self, deadlines: Deadlines) -> None:
        """Without, there are none."""
        self._layer = DeadlineLayer(self._layer, deadlines)

    async def ask(
        self, secret: str, *, path: str = "/predict", content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> int:
        """The status."""
        transport = httpx.ASGITransport(RequestIdLayer(self._layer))
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            all_headers = {"Authorization": f"Bearer {secret}", **(headers or {})}
            answer = await client.post(path, content=content, headers=all_headers)
        return answer.status_code

    async def ask_while_held_up(
        self, secret: str, *, path: str = "/predict", content: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, int]:
        """How often the app began while the key was looked up, and the status thereafter."""
        looked_up, began = self.look_ups, len(self.app.began_for)
        self.lets_look_up.clear()
        asked = asyncio.create_task(self.ask(secret, path=path, content=content, headers=headers))
        try:
            while self.look_ups == looked_up and not asked.done():
                await asyncio.sleep(POLL_SECONDS)
            for _ in range(MANY_TURNS):
                await asyncio.sleep(0)
            assert not asked.done(), "it was answered before its key was found"
            began_early = len(self.app.began_for) - began
        finally:
            self.lets_look_up.set()
        return began_early, await asked

    def allow(self, requests_per_second: int) -> None:
        with self._sessions.begin() as session:
            set_quota(session, self.project_id, QuotaName.REQUESTS_PER_SECOND, requests_per_second)

    def revoke(self) -> None:
        with self._sessions.begin() as session:
            revoke_key(session, self.project_id, self.key.id)

    def move_key(self, project: str) -> str:
        """No call of the API does it, but a restored database might; returns the id of the project."""
        with self._sessions.begin() as session:
            project_id = ensure_project(session, project)
            session.execute(update(Key).where(Key.id == self.key.id).values(project_id=project_id))
        return project_id

    def _make_key(self, session: Session, *scopes: str) -> NewKey:
        return create_key(session, project_id=self.project_id, name="line", scopes=scopes)

    def _authenticate(self, secret: str) -> Principal:
        self.look_ups += 1
        assert self.lets_look_up.wait(PATIENCE_SECONDS)
        if self.outage is not None:
            raise self.outage
        with self._sessions() as session:
            return authenticate(session, secret)
