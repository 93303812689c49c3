import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api.picture_fetcher import PictureFetcher
from api.predict_bodies import Picture, PictureUrl
from core.ingest.connections import make_network
from core.ingest.errors import FetchError
from core.ingest.url_policy import UrlPolicy
from tests.abuse.fault_server import Exchange, serve_fault
from tests.abuse.server_faults import LENGTH, OK, answer, say_nothing

PICTURE = b"picture" * 100
POLICY = UrlPolicy(
    allowed_hosts=("127.0.0.1",), connect_seconds=0.3, first_byte_seconds=5.0, idle_seconds=5.0, total_seconds=1.0
)
NETWORK = make_network(POLICY)


@contextmanager
def make_fetcher(*, max_request_bytes: int = 100_000) -> Iterator[PictureFetcher]:
    fetcher = PictureFetcher(
        POLICY,
        NETWORK,
        num_threads=4,
        num_threads_per_project=2,
        max_picture_bytes=1000,
        max_request_bytes=max_request_bytes,
    )
    try:
        yield fetcher
    finally:
        fetcher.close()


@pytest.fixture(scope="module")
def good_url() -> Iterator[PictureUrl]:
    with serve_fault(answer(OK + LENGTH % len(PICTURE) + PICTURE)) as port:
        yield PictureUrl(f"http://127.0.0.1:{port}/")


@pytest.fixture(scope="module")
def silent_url() -> Iterator[PictureUrl]:
    with serve_fault(say_nothing) as port:
        yield PictureUrl(f"http://127.0.0.1:{port}/")


def fetch_all(fetcher: PictureFetcher, pictures: list[Picture]) -> list[bytes | str]:
    """The bytes, or the code of the error."""
    found = asyncio.run(fetcher.fetch_many(pictures, "project"))
    return [item.code if isinstance(item, FetchError) else item for item in found]


def test_order_is_kept_and_errors_stay_in_their_place(good_url: PictureUrl) -> None:
    pictures: list[Picture] = [b"sent", good_url, PictureUrl("https://10.0.0.1/"), PictureUrl("nonsense"), good_url]

    with make_fetcher() as fetcher:
        found = fetch_all(fetcher, pictures)

    assert found == [b"sent", PICTURE, "url_not_allowed", "url_not_allowed", PICTURE]


def test_picture_over_its_cap_is_refused() -> None:
    with make_fetcher() as fetcher, serve_fault(answer(OK + b"\r\n" + b"x" * 1001)) as port:
        assert fetch_all(fetcher, [PictureUrl(f"http://127.0.0.1:{port}/")]) == ["url_too_large"]


def test_pictures_over_the_cap_of_the_request_are_refused(good_url: PictureUrl) -> None:
    with make_fetcher(max_request_bytes=2 * len(PICTURE)) as fetcher:
        found = fetch_all(fetcher, [good_url] * 5)

    assert sorted(str(item) for item in found) == sorted([str(PICTURE)] * 2 + ["url_too_large"] * 3)


def test_all_pictures_of_a_request_share_one_time_limit(silent_url: PictureUrl) -> None:
    began_at = time.monotonic()

    with make_fetcher() as fetcher:
        found = fetch_all(fetcher, [silent_url] * 20)

    assert found == ["url_timeout"] * 20
    assert time.monotonic() - began_at < 5 * POLICY.total_seconds


def test_slow_servers_of_one_project_are_not_waited_for_by_another(
    good_url: PictureUrl, silent_url: PictureUrl
) -> None:
    async def ask(fetcher: PictureFetcher) -> bool:
        slow = asyncio.ensure_future(fetcher.fetch_many([silent_url] * 20, "one"))
        await asyncio.sleep(0)  # let it begin
        assert await fetcher.fetch_many([good_url], "other") == [PICTURE]
        is_still_waiting = not slow.done()
        await slow
        return is_still_waiting

    with make_fetcher() as fetcher:
        assert asyncio.run(ask(fetcher))


def test_fetch_ends_with_its_request() -> None:
    gone: list[bool] = []

    def wait_for_the_end(exchange: Exchange) -> None:
        exchange.read_request()
        exchange.hang()
        gone.append(True)

    async def leave(fetcher: PictureFetcher, url: PictureUrl) -> None:
        task = asyncio.ensure_future(fetcher.fetch_many([url], "project"))
        await asyncio.sleep(0.1)
        task.cancel()
        while not gone:
            await asyncio.sleep(0.01)

    with make_fetcher() as fetcher, serve_fault(wait_for_the_end) as port:
        asyncio.run(asyncio.wait_for(leave(fetcher, PictureUrl(f"http://127.0.0.1:{port}/")), 5))


@pytest.mark.parametrize(
    ("image", "code"),
    [({}, "missing"), ({"b64": "", "url": "https://a.example/"}, "unknown_field"), ({"url": 1}, "string_type")],
)
def test_picture_is_either_sent_or_named(client: httpx.Client, image: dict[str, object], code: str) -> None:
    found = client.post("/predict", json={"images": [image], "model": "model_x"})

    assert found.status_code == 422
    assert [error["code"] for error in found.json()["errors"]] == [code]
