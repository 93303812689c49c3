"""The proxy is not there until a fault is set."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from core.storage import PART_BYTES, Storage
from core.storage_errors import ObjectCorruptError, ObjectMissingError
from tests.chaos.s3_proxy import S3Proxy
from tests.chaos.samples import Sample, make_sample


def test_uploaded_bytes_are_those_that_the_store_has(storage: Storage, direct: Storage) -> None:
    sample = make_sample("passed/a", size_bytes=2 * PART_BYTES + 7)
    with storage.open_upload(sample.key) as upload:
        upload.write(sample.content)

    assert direct.get_bytes(sample.key) == sample.content


def test_downloaded_bytes_are_those_that_the_store_has(storage: Storage, stored: Sample, tmp_path: Path) -> None:
    storage.download_file(stored.key, tmp_path / "a", sha256=stored.sha256)

    assert (tmp_path / "a").read_bytes() == stored.content


def test_listing_and_deletion_pass(storage: Storage) -> None:
    for number in range(5):
        storage.put_bytes(f"listed/{number} ü", b"x")

    assert list(storage.list_keys("listed/")) == [f"listed/{number} ü" for number in range(5)]
    assert storage.delete_prefix("listed/") == 5
    assert not storage.exists("listed/0 ü")


def test_condition_passes(storage: Storage) -> None:
    storage.delete_prefix("once/")
    storage.put_once("once/a", b"first")

    with pytest.raises(ObjectCorruptError):
        storage.put_once("once/a", b"second")


def test_missing_object_passes(storage: Storage) -> None:
    with pytest.raises(ObjectMissingError):
        storage.get_bytes("nothing/here")


def test_presigned_download_passes(storage: Storage, stored: Sample) -> None:
    answer = httpx.get(storage.presign_download(stored.key, filename="a.bin"), trust_env=False)

    assert answer.content == stored.content
    assert answer.headers["content-disposition"] == 'attachment; filename="a.bin"'


def test_connection_carries_one_request_after_the_other(proxy: S3Proxy, storage: Storage, stored: Sample) -> None:
    url = storage.presign_download(stored.key, filename="a.bin")

    with httpx.Client(trust_env=False) as client:
        ports = {client.get(url).extensions["network_stream"].get_extra_info("client_addr") for _ in range(3)}

    assert len(ports) == 1


def test_hundred_connections_are_served_together(proxy: S3Proxy, storage: Storage) -> None:
    storage.put_bytes("small/a", b"content")
    url = storage.presign_download("small/a", filename="a.bin")

    with ThreadPoolExecutor(100) as pool:
        contents = list(pool.map(lambda _: httpx.get(url, trust_env=False, timeout=30).content, range(100)))

    assert contents == [b"content"] * 100


def test_connection_is_reset_while_the_store_is_away() -> None:
    proxy = S3Proxy("http://127.0.0.1:9")
    proxy.start()
    try:
        with pytest.raises(httpx.TransportError):
            httpx.get(proxy.url, trust_env=False)
    finally:
        proxy.close()
