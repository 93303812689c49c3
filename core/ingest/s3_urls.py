"""Dataset URLs of the form s3://bucket/key: only from buckets of our store that the operator lists."""

import re
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from core.ingest.errors import FetchError, IngestStoppedError
from core.storage import OpenedObject, Storage
from core.storage_errors import AccessRefusedError, ObjectMissingError

SCHEME = "s3://"
MAX_KEY_BYTES = 1024  # S3 knows no longer ones
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class S3Location(NamedTuple):
    bucket: str
    key: str


def is_s3_url(url: str) -> bool:
    return url[: len(SCHEME)].lower() == SCHEME


def parse_s3_url(url: str, buckets: Collection[str]) -> S3Location:
    """The key is taken as it stands, without percent-decoding. Nothing tells whether an unlisted bucket exists."""
    bucket, _, key = url[len(SCHEME) :].partition("/")
    if not BUCKET.fullmatch(bucket) or not _is_plain(key):
        raise FetchError("url_invalid", "the URL is not s3://bucket/key", hint="name one object, without `.` and `..`")
    if bucket not in buckets:
        raise FetchError(
            "url_not_allowed",
            "the bucket is none that datasets are read from",
            hint="the operator can list it in BITUNE_S3_IMPORT_BUCKETS",
        )
    return S3Location(bucket, key)


def open_s3(location: S3Location, storage: Storage, *, max_bytes: int, should_stop: Callable[[], bool]) -> OpenedObject:
    """Raises FetchError, StorageUnavailableError; its chunks raise IngestStoppedError when asked to stop."""
    try:
        opened = storage.for_bucket(location.bucket).open_object(location.key)
    except ObjectMissingError as exc:
        raise FetchError("s3_object_missing", "the bucket has no such object", hint="check the key") from exc
    except AccessRefusedError as exc:
        raise FetchError(
            "s3_access_refused", "the store's credentials may not read it", hint="the operator can allow it"
        ) from exc
    if opened.size_bytes > max_bytes:
        opened.close()
        raise FetchError("url_too_large", f"the object has more than {max_bytes} bytes")
    return opened._replace(chunks=_read(opened.chunks, should_stop))


def _read(chunks: Iterator[bytes], should_stop: Callable[[], bool]) -> Iterator[bytes]:
    for chunk in chunks:
        if should_stop():
            raise IngestStoppedError
        yield chunk


def _is_plain(key: str) -> bool:
    """A store that takes keys for paths would lead `..` into another bucket."""
    parts = key.split("/")
    return key.isprintable() and len(key.encode()) <= MAX_KEY_BYTES and not {"", ".", ".."} & set(parts)
