"""Where the bytes of a dataset come from that is named by a URL."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from core.ingest.fetch import fetch
from core.ingest.s3_urls import is_s3_url, open_s3, parse_s3_url
from core.ingest.urls import UrlPolicy, check_url
from core.settings import Settings
from core.storage import Storage


class Source(NamedTuple):
    size_bytes: int | None  # None where nobody knows before the end
    chunks: Iterator[bytes]


def check_source(url: str, settings: Settings) -> None:
    """Raises FetchError for a URL that will never be fetched; asks no network."""
    if is_s3_url(url):
        parse_s3_url(url, settings.s3_import_buckets)
    else:
        check_url(url, UrlPolicy.from_settings(settings))


def open_source(url: str, settings: Settings, storage: Storage, should_stop: Callable[[], bool]) -> Source:
    """Raises FetchError, as its chunks do."""
    if is_s3_url(url):
        location = parse_s3_url(url, settings.s3_import_buckets)
        opened = open_s3(location, storage, max_bytes=settings.max_archive_bytes, should_stop=should_stop)
        return Source(opened.size_bytes, opened.chunks)
    policy = UrlPolicy.from_settings(settings)
    return Source(None, fetch(url, policy, max_bytes=settings.max_upload_bytes, should_stop=should_stop))
