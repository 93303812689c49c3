"""Two APIs on one database and store, as replicas are: what one is told holds on the other."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx
import pytest
from sqlalchemy import TextClause, func, select, text, update

from api.deadline import ANSWER_SECONDS
from core.db.session import SessionFactory
from core.db.tables import Key
from core.inference.model_card import WEIGHTS_FILE
from core.keys import hash_secret
from core.settings import Settings
from core.storage import Storage
from tests.api.conftest import make_secret, serve
from tests.api.served_models import make_state, store_model
from tests.cards import make_card
from tests.chaos.s3_faults import Slow
from tests.chaos.s3_proxy import S3Proxy, run_s3_proxy
from tests.conditions import wait_until
from tests.pictures import encode, make_picture

WAITS_FOR_A_KEY = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND query LIKE '%FROM keys%' AND query_start > :since"
)
HAS_LOOKED_A_MODEL_UP = text(
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle' AND query LIKE '%FROM models%' AND query_start > :since"
)
PICTURE = encode(make_picture(0, (40, 40)))
RAW = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def proxy(settings: Settings) -> Iterator[S3Proxy]:
    with run_s3_proxy(settings) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def urls(api_settings: Settings, proxy: S3Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two replicas on one host, each with room for four pictures."""
    update = {
        "home": tmp_path_factory.mktemp("host"),
        "s3_endpoint_url": proxy.url,
        "predict_waiting_images": 4,
        "quota_requests_per_second": None,
    }
    host = api_settings.model_copy(update=update)
    with serve(host) as first, serve(host) as second:
        yield first, second


@pytest.fixture
def replicas(urls: tuple[str, str], secret: str) -> Iterator[list[httpx.Client]]:
    with make_client(urls[0], secret) as first, make_client(urls[1], secret) as second:
        yield [first, second]


def make_client(url: str, secret: str) -> httpx.Client:
    """That waits also for a slow load."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=30)


@pytest.fixture
def model_id(sessions: SessionFactory, storage: Storage, tmp_path: Path) -> str:
    return make_model(sessions, storage, tmp_path)


@pytest.fixture
def other_model_id(sessions: SessionFactory, storage: Storage, tmp_path: Path) -> str:
    return make_model(sessions, storage, tmp_path)


def make_model(sessions: SessionFactory, storage: Storage, folder: Path) -> str:
    with sessions.begin() as session:
        return store_model(session, storage, folder, make_card("a", "b"), make_state(2))


def ask(client: httpx.Client, model_id: str) -> httpx.Response:
    return client.post(f"/models/{model_id}/predict", content=PICTURE, headers=RAW)


@contextmanager
def watch_weights(proxy: S3Proxy, *, bytes_per_second: int = 2_000_000) -> Iterator[None]:
    """Counts how often they are read, and slows it."""
    proxy.set_fault(Slow(bytes_per_second=bytes_per_second, methods=frozenset({"GET"}), key_pattern=WEIGHTS_FILE))
    try:
        yield
    finally:
        proxy.set_fault(None)


@contextmanager
def revoke_under_lock(sessions: SessionFactory, secret: str) -> Iterator[None]:
    """Until the end no key is found; leaves when a request waits for its key and has looked its model up."""
    with sessions.begin() as locking:
        locking.execute(text("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE"))
        since = locking.execute(select(func.clock_timestamp())).scalar_one()
        yield
        wait_until(partial(_is_there, sessions, WAITS_FOR_A_KEY, since), seconds=ANSWER_SECONDS / 2.25)
        wait_until(partial(_is_there, sessions, HAS_LOOKED_A_MODEL_UP, since), seconds=ANSWER_SECONDS / 2.25)
        locking.execute(update(Key).where(Key.secret_sha256 == hash_secret(secret)).values(revoked_at=func.now()))


def _is_there(sessions: SessionFactory, what: TextClause, since: datetime) -> bool:
    with sessions.begin() as session:
        return bool(session.execute(what, {"since": since}).scalar_one())


def test_model_that_one_deletes_is_gone_on_the_other(replicas: list[httpx.Client], model_id: str) -> None:
    assert [ask(client, model_id).status_code for client in replicas] == [200, 200]

    assert replicas[0].delete(f"/models/{model_id}").status_code == 204

    assert [ask(client, model_id).status_code for client in replicas] == [404, 404]


def test_key_that_is_revoked_while_it_is_looked_up_has_no_model_loaded(
    replicas: list[httpx.Client],
    model_id: str,
    other_model_id: str,
    proxy: S3Proxy,
    sessions: SessionFactory,
    secret: str,
) -> None:
    assert ask(replicas[0], "model_unknown").status_code == 404  # its key is admitted, so the next begins early
    with watch_weights(proxy), ThreadPoolExecutor(1) as pool:
        with revoke_under_lock(sessions, secret):
            asked = pool.submit(ask, replicas[0], model_id)
        assert (asked.result().status_code, asked.result().json()["code"]) == (401, "key_revoked")

        with make_client(str(replicas[0].base_url), make_secret(sessions)) as client:
            assert ask(client, other_model_id).status_code == 200  # a load that had begun would be over
        assert [other_model_id in key for key in proxy.hit_keys] == [True]


def test_each_says_whether_it_has_the_model_loaded(replicas: list[httpx.Client], model_id: str) -> None:
    assert ask(replicas[0], model_id).status_code == 200

    assert [client.get(f"/models/{model_id}").json()["is_warm"] for client in replicas] == [True, False]


def test_cold_herd_reads_the_weights_from_the_store_once(
    replicas: list[httpx.Client], model_id: str, proxy: S3Proxy
) -> None:
    with watch_weights(proxy), ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: ask(replicas[number % 2], model_id), range(6)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["predictions"][0]["top"]["probability"] for answer in answers}) == 1
    assert proxy.hits == 1


def test_more_than_there_is_room_for_is_refused_with_a_time_to_wait(
    replicas: list[httpx.Client], model_id: str, proxy: S3Proxy
) -> None:
    """The project's share is three pictures; the cold load holds them."""
    with watch_weights(proxy, bytes_per_second=200_000), ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(replicas[1], model_id), range(20)))

    counts = Counter(answer.status_code for answer in answers)
    assert counts == {200: 3, 429: 17}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.json()["code"] for answer in refused} == {"too_many_pictures"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert ask(replicas[1], model_id).status_code == 200
