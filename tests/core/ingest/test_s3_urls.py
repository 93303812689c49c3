import hashlib
from collections.abc import Callable, Iterator

import pytest
from pydantic import ValidationError

from core.ingest.errors import FetchError, IngestStoppedError
from core.ingest.s3_urls import S3Location, open_s3, parse_s3_url
from core.ingest.sources import check_source
from core.settings import Settings
from core.storage import CHUNK_BYTES, Storage

LISTED = ("lake", "other-lake")


@pytest.fixture(scope="module")
def lake(storage: Storage) -> Iterator[Storage]:
    lake = storage.for_bucket("lake")
    lake.ensure_bucket()
    yield lake
    lake.delete_prefix("")


def _refuse(url: str, buckets: tuple[str, ...] = LISTED) -> FetchError:
    with pytest.raises(FetchError) as error:
        parse_s3_url(url, buckets)
    return error.value


def _open(
    key: str, storage: Storage, *, max_bytes: int = 10_000_000, stop: Callable[[], bool] = lambda: False
) -> bytes:
    opened = open_s3(S3Location("lake", key), storage, max_bytes=max_bytes, should_stop=stop)
    return b"".join(opened.chunks)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("s3://lake/cells.zip", "cells.zip"),
        ("S3://lake/a/b c/d%20e?x#y.zip", "a/b c/d%20e?x#y.zip"),
        ("s3://lake/..a/b..c/zellen-größe.zip", "..a/b..c/zellen-größe.zip"),
    ],
)
def test_key_is_taken_as_it_stands(url: str, key: str) -> None:
    assert parse_s3_url(url, LISTED) == S3Location("lake", key)


@pytest.mark.parametrize(
    "url",
    [
        "s3://lake",
        "s3://lake/",
        "s3:///cells.zip",
        "s3://lake/folder/",
        "s3://lake//cells.zip",
        "s3://lake/../bitune/uploads/upload_x/archive",
        "s3://lake/a/../../bitune/x",
        "s3://lake/./cells.zip",
        "s3://la ke/cells.zip",
        "s3://user@lake/cells.zip",
        "s3://lake:9000/cells.zip",
        "s3://lake/a\x00b",
        "s3://lake/a\nb",
        "s3://lake/" + "a" * 1025,
    ],
)
def test_what_names_no_object_is_invalid(url: str) -> None:
    assert _refuse(url).code == "url_invalid"


def test_refusal_says_nothing_of_the_bucket(settings: Settings, lake: Storage) -> None:
    """One that exists, the service's own, and one that does not: the same words."""
    errors = [_refuse(f"s3://{bucket}/cells.zip", ()) for bucket in ("lake", settings.s3_bucket, "nowhere")]

    assert errors[0].code == "url_not_allowed"
    assert len({(error.code, error.message, error.hint) for error in errors}) == 1


def test_source_is_judged_by_the_operators_list(settings: Settings) -> None:
    listed = settings.model_copy(update={"s3_import_buckets": ("lake",)})

    check_source("s3://lake/cells.zip", listed)
    with pytest.raises(FetchError):
        check_source("s3://lake/cells.zip", settings)


def test_own_bucket_cannot_be_listed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    known = settings.model_dump(include={"database_url", "broker_url", "s3_access_key_id", "s3_secret_access_key"})
    monkeypatch.setenv("BITUNE_S3_IMPORT_BUCKETS", "Lake, other-lake,")
    assert Settings(**known).s3_import_buckets == LISTED

    monkeypatch.setenv("BITUNE_S3_IMPORT_BUCKETS", "lake,bitune")
    with pytest.raises(ValidationError, match="own bucket"):
        Settings(**known)


def test_object_comes_whole(storage: Storage, lake: Storage) -> None:
    content = bytes(range(256)) * (CHUNK_BYTES // 100)
    lake.put_bytes("a/cells.zip", content)

    assert hashlib.sha256(_open("a/cells.zip", storage)).digest() == hashlib.sha256(content).digest()


def test_object_above_the_limit_is_not_read(storage: Storage, lake: Storage) -> None:
    lake.put_bytes("large", b"x" * 1001)
    assert len(_open("large", storage, max_bytes=1001)) == 1001

    with pytest.raises(FetchError, match="more than 1000 bytes"):
        _open("large", storage, max_bytes=1000)


def test_missing_object_is_said(storage: Storage, lake: Storage) -> None:
    with pytest.raises(FetchError) as error:
        _open("nothing", storage)

    assert error.value.code == "s3_object_missing"


def test_reading_stops_when_asked(storage: Storage, lake: Storage) -> None:
    lake.put_bytes("a/cells.zip", b"x" * 10)

    with pytest.raises(IngestStoppedError):
        _open("a/cells.zip", storage, stop=lambda: True)
