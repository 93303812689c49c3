"""`core.storage` sees each fault's symptom, and none once it is healed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.storage import Storage
from core.storage_errors import ObjectCorruptError, StorageUnavailableError
from tests.chaos.s3_faults import Corrupt, Fault, Hang, LostAnswer, Refuse, Reset, Slow, Truncate, Unavailable
from tests.chaos.s3_proxy import S3Proxy
from tests.chaos.samples import Sample
from tests.conditions import wait_until

MEGABYTE = bytes(1_000_000)


@pytest.mark.parametrize(
    "fault",
    [Unavailable(), Refuse(), Reset(after_bytes=0), Reset(after_bytes=100_000), LostAnswer()],
    ids=["unavailable", "refuse", "reset at once", "reset midway", "lost answer"],
)
def test_failing_upload_is_said_and_healed(proxy: S3Proxy, storage: Storage, fault: Fault) -> None:
    proxy.set_fault(fault)
    with pytest.raises(StorageUnavailableError):
        storage.put_bytes("failing/a", MEGABYTE)
    proxy.set_fault(None)

    storage.put_bytes("failing/a", MEGABYTE)
    assert set(proxy.hit_keys) == {"failing/a"}


@pytest.mark.parametrize(
    "fault",
    [Truncate(fraction=0.7), Truncate(fraction=0), Reset(after_bytes=1_000_000)],
    ids=["truncated", "empty", "reset"],
)
def test_broken_off_download_is_said_and_healed(
    proxy: S3Proxy, storage: Storage, stored: Sample, tmp_path: Path, fault: Fault
) -> None:
    proxy.set_fault(fault)
    with pytest.raises(StorageUnavailableError):
        storage.download_file(stored.key, tmp_path / "a", sha256=stored.sha256)
    with pytest.raises(StorageUnavailableError):
        storage.get_bytes(stored.key)
    assert proxy.hits == 2
    proxy.set_fault(None)

    assert storage.get_bytes(stored.key) == stored.content


def test_damaged_download_is_told_by_its_digest(
    proxy: S3Proxy, storage: Storage, stored: Sample, tmp_path: Path
) -> None:
    proxy.set_fault(Corrupt())

    with pytest.raises(ObjectCorruptError):
        storage.download_file(stored.key, tmp_path / "a", sha256=stored.sha256)


def test_damage_keeps_length_and_first_half(proxy: S3Proxy, storage: Storage, stored: Sample) -> None:
    proxy.set_fault(Corrupt(key_pattern=r"^stored/a$"))
    content = storage.get_bytes(stored.key)

    half = len(stored.content) // 2
    assert content[:half] == stored.content[:half]
    assert content[half:] == bytes(value ^ 1 for value in stored.content[half:])


def test_fault_spares_what_its_filter_does_not_name(proxy: S3Proxy, storage: Storage) -> None:
    proxy.set_fault(Unavailable(methods=frozenset({"GET"}), key_pattern=r"\.safetensors$"))

    storage.put_bytes("spared/a.safetensors", b"x")
    storage.put_bytes("spared/a.json", b"x")

    assert storage.get_bytes("spared/a.json") == b"x"
    assert proxy.hits == 0


def test_one_failure_is_retried_within_the_call(proxy: S3Proxy, storage: Storage) -> None:
    proxy.set_fault(Unavailable(limit=1))

    storage.put_bytes("retried/a", b"x")

    assert proxy.hits == 1


def test_slow_body_takes_its_time_and_is_whole(proxy: S3Proxy, storage: Storage, direct: Storage) -> None:
    proxy.set_fault(Slow(bytes_per_second=2_000_000))
    started_at = time.monotonic()
    storage.put_bytes("slow/a", MEGABYTE)

    assert 0.4 < time.monotonic() - started_at < 10
    assert direct.get_bytes("slow/a") == MEGABYTE


def test_body_on_its_way_feels_that_the_fault_is_healed(proxy: S3Proxy, storage: Storage, stored: Sample) -> None:
    proxy.set_fault(Slow(bytes_per_second=1000))  # hours

    with ThreadPoolExecutor(1) as pool:
        download = pool.submit(storage.get_bytes, stored.key)
        wait_until(lambda: proxy.hits == 1, seconds=10)
        proxy.set_fault(None)
        assert download.result(timeout=10) == stored.content


def test_body_on_its_way_feels_a_reset(proxy: S3Proxy, storage: Storage, stored: Sample) -> None:
    proxy.set_fault(Slow(bytes_per_second=1000))

    with ThreadPoolExecutor(1) as pool:
        download = pool.submit(storage.get_bytes, stored.key)
        wait_until(lambda: proxy.hits == 1, seconds=10)
        proxy.set_fault(Reset(after_bytes=1))
        assert isinstance(download.exception(timeout=10), StorageUnavailableError)


def test_hanging_request_is_dropped_when_healed_and_tried_again(
    proxy: S3Proxy, storage: Storage, stored: Sample
) -> None:
    proxy.set_fault(Hang())

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(storage.exists, stored.key)
        wait_until(lambda: proxy.hits == 1, seconds=10)
        proxy.set_fault(None)
        assert answer.result(timeout=10)


def test_lost_answer_means_that_it_happened(proxy: S3Proxy, storage: Storage, direct: Storage) -> None:
    direct.delete_prefix("happened/")
    proxy.set_fault(LostAnswer())

    with pytest.raises(StorageUnavailableError):
        storage.put_bytes("happened/a", b"x")

    assert direct.get_bytes("happened/a") == b"x"
