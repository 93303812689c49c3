"""What one API process holds, made once by `create_app` and closed with it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from api.decode_pool import DecodePool
from api.limits import RateLimiter
from api.model_cache import ModelCache
from api.picture_fetcher import PictureFetcher
from api.picture_gate import PictureGate
from api.run_watch import RunWatch
from api.servable_models import ServableModels
from api.shared_reads import SharedReads
from core.db.lookups import Lookups
from core.db.session import SessionFactory
from core.dispatch import Dispatcher
from core.health import Probes
from core.quotas import Quotas
from core.settings import Settings
from core.storage import Storage


@dataclass(frozen=True)
class Services:
    settings: Settings
    engine: Engine
    sessions: SessionFactory
    lookups: Lookups
    session_slots: asyncio.Semaphore  # of requests that keep a session from one thread to the next
    run_watch: RunWatch
    shared_reads: SharedReads
    storage: Storage
    dispatcher: Dispatcher
    quotas: Quotas  # the defaults
    rate_limiter: RateLimiter
    probes: Probes
    decode_pool: DecodePool
    picture_gate: PictureGate
    picture_fetcher: PictureFetcher
    servable_models: ServableModels
    model_cache: ModelCache

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commits at the end, then sends the hints; for routes that must not hold a session while they do I/O."""
        with self.sessions() as session:
            with session.begin():
                yield session
            self.dispatcher.send_pending(session)
