"""The API over real HTTP, in a thread of the test process, on the real servers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from api.limits import RateLimiter
from api.main import create_app
from core.db.session import SessionFactory
from core.keys import ALL_SCOPES, create_key, ensure_project
from core.settings import Settings
from tests.conditions import wait_until


class ApiServer(uvicorn.Server):
    """Runs in a thread; says where it listens."""

    @property
    def url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}"


@pytest.fixture
def limiter(settings: Settings) -> Iterator[RateLimiter]:
    limiter = RateLimiter(settings.broker_url.get_secret_value())
    yield limiter
    limiter.close()


@pytest.fixture(scope="session")
def api_settings(settings: Settings) -> Settings:
    """Small limits, so that tests reach them."""
    return settings.model_copy(
        update={
            "max_json_bytes": 20_000,
            "max_predict_images": 4,
            "max_upload_bytes": 200_000,
            "max_archive_bytes": 20 * 1024**2,
            "upload_part_bytes": 5 * 1024**2,
            "s3_import_buckets": ("lake",),
        }
    )


@pytest.fixture(scope="session")
def api_url(api_settings: Settings) -> Iterator[str]:
    with serve(api_settings) as url:
        yield url


@pytest.fixture(scope="session")
def other_api_url(api_settings: Settings) -> Iterator[str]:
    """A second API on the same servers, which shares nothing else with the first."""
    with serve(api_settings) as url:
        yield url


@contextmanager
def serve(api_settings: Settings) -> Iterator[str]:
    server = ApiServer(uvicorn.Config(create_app(api_settings), host="127.0.0.1", port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, seconds=20)
        yield server.url
    finally:
        server.should_exit = True
        thread.join()


def open_client(api_url: str, secret: str) -> httpx.Client:
    return httpx.Client(base_url=api_url, headers={"Authorization": f"Bearer {secret}"}, trust_env=False)


@pytest.fixture
def secret(sessions: SessionFactory) -> str:
    return make_secret(sessions)


def make_secret(sessions: SessionFactory) -> str:
    """Of a key of the default project that may do everything."""
    with sessions.begin() as session:
        return create_key(session, project_id=ensure_project(session), name="test", scopes=ALL_SCOPES).secret


@pytest.fixture
def client(api_url: str, secret: str) -> Iterator[httpx.Client]:
    """A client with a key of the default project that may do everything."""
    with open_client(api_url, secret) as client:
        yield client


@pytest.fixture
def stranger(api_url: str, sessions: SessionFactory) -> Iterator[httpx.Client]:
    """A client with a key of another project."""
    with sessions.begin() as session:
        project_id = ensure_project(session, "other")
        secret = create_key(session, project_id=project_id, name="other", scopes=ALL_SCOPES).secret
    with open_client(api_url, secret) as client:
        yield client
