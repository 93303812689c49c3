"""Fetches the pictures that predict requests name by URL, in threads of its own and with small caps."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from api.predict_bodies import Picture, PictureUrl
from core.ingest.connections import Network, make_network
from core.ingest.errors import FetchError, IngestStoppedError
from core.ingest.fetch import fetch
from core.ingest.url_policy import UrlPolicy
from core.settings import Settings


class PictureFetcher:
    """As many fetches side by side as it has threads, and a share of them for one project: a slow server that one
    names is not waited for by others.
    """

    def __init__(
        self,
        policy: UrlPolicy,
        network: Network,
        *,
        num_threads: int,
        num_threads_per_project: int,
        max_picture_bytes: int,
        max_request_bytes: int,
    ) -> None:
        self._policy = policy
        self._network = network
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="fetch")
        self._shares: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(num_threads_per_project)
        )
        self._max_picture_bytes = max_picture_bytes
        self._max_request_bytes = max_request_bytes
        self._closed = threading.Event()

    @classmethod
    def from_settings(cls, settings: Settings) -> "PictureFetcher":
        policy = UrlPolicy.for_pictures(settings)
        return cls(
            policy,
            make_network(policy),
            num_threads=settings.predict_url_fetches,
            num_threads_per_project=settings.predict_url_fetches_per_project,
            max_picture_bytes=settings.max_predict_image_bytes,
            max_request_bytes=settings.max_predict_bytes,
        )

    def close(self) -> None:
        self._closed.set()
        self._threads.shutdown(cancel_futures=True)

    async def fetch_many(self, pictures: Sequence[Picture], project_id: str) -> list[bytes | FetchError]:
        """In the order given; an error stands in the place of its picture. All of them share one time limit."""
        errand = _Errand(self._policy, self._max_picture_bytes, self._max_request_bytes, self._closed.is_set)
        try:
            return list(await asyncio.gather(*(self._get(picture, project_id, errand) for picture in pictures)))
        finally:
            errand.is_over = True

    async def _get(self, picture: Picture, project_id: str, errand: "_Errand") -> bytes | FetchError:
        if not isinstance(picture, PictureUrl):
            return picture
        async with self._shares[project_id]:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, errand.fetch, picture.url, self._network)


class _Errand:
    """The fetches of one request, and what they may cost together."""

    def __init__(
        self, policy: UrlPolicy, max_picture_bytes: int, max_request_bytes: int, is_closed: Callable[[], bool]
    ) -> None:
        self.is_over = False  # nobody waits any more
        self._policy = policy
        self._max_picture_bytes = max_picture_bytes
        self._left_bytes = max_request_bytes
        self._is_closed = is_closed
        self._ends_at = time.monotonic() + policy.total_seconds
        self._lock = threading.Lock()

    def fetch(self, url: str, network: Network) -> bytes | FetchError:
        """In a thread."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            return FetchError("url_timeout", "the pictures of the request take too long to fetch")
        policy = self._policy.model_copy(update={"total_seconds": left})
        content = bytearray()
        try:
            for chunk in fetch(
                url, policy, max_bytes=self._max_picture_bytes, should_stop=self._should_stop, network=network
            ):
                self._spend(len(chunk))
                content += chunk
        except FetchError as error:
            return error
        except IngestStoppedError:
            return FetchError("url_timeout", "the request ended before its pictures were fetched")
        return bytes(content)

    def _should_stop(self) -> bool:
        return self.is_over or self._is_closed()

    def _spend(self, num_bytes: int) -> None:
        with self._lock:
            self._left_bytes -= num_bytes
            if self._left_bytes < 0:
                raise FetchError("url_too_large", "the pictures of the request have too many bytes together")
