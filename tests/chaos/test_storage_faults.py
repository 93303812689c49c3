"""What `core.storage` makes of answers that never came or lie."""

import pytest

from core.storage import PART_BYTES, Storage
from core.storage_errors import ObjectCorruptError, StorageUnavailableError
from tests.chaos.s3_faults import LostAnswer, Refuse, Unavailable
from tests.chaos.s3_proxy import S3Proxy

POSTS = frozenset({"POST"})
PUTS = frozenset({"PUT"})
SEVERAL_PARTS = b"x" * (PART_BYTES + 1)


def test_object_written_once_whose_answer_was_lost_is_written(proxy: S3Proxy, storage: Storage) -> None:
    storage.delete_prefix("once/")
    proxy.set_fault(LostAnswer(limit=1))

    storage.put_once("once/a", b"first")

    assert storage.get_bytes("once/a") == b"first"
    assert proxy.hits == 1


def test_object_written_once_stays_when_answers_are_lost(proxy: S3Proxy, storage: Storage) -> None:
    storage.delete_prefix("once/")
    storage.put_once("once/a", b"first")
    proxy.set_fault(LostAnswer(limit=1))

    with pytest.raises(ObjectCorruptError):
        storage.put_once("once/a", b"second")


def test_write_that_races_another_may_be_tried_again(proxy: S3Proxy, storage: Storage) -> None:
    storage.delete_prefix("once/")
    proxy.set_fault(Unavailable(status=409, code="ConditionalRequestConflict", methods=PUTS))

    with pytest.raises(StorageUnavailableError):
        storage.put_once("once/a", b"first")


def test_upload_whose_last_answer_was_lost_is_finished(proxy: S3Proxy, storage: Storage) -> None:
    with storage.open_upload("parts/a") as upload:
        upload.write(SEVERAL_PARTS)
        proxy.set_fault(LostAnswer(limit=1, methods=POSTS))

    assert proxy.hits == 1
    assert storage.get_bytes("parts/a") == SEVERAL_PARTS


def test_upload_that_the_store_forgot_once_finished_is_finished(proxy: S3Proxy, storage: Storage) -> None:
    """SeaweedFS remembers; other stores do not."""
    with storage.open_upload("parts/a") as upload:
        upload.write(SEVERAL_PARTS)
        storage.put_bytes("parts/a", SEVERAL_PARTS)
        proxy.set_fault(Unavailable(status=404, code="NoSuchUpload", methods=POSTS))


def test_upload_with_a_part_whose_answer_was_lost_is_whole(proxy: S3Proxy, storage: Storage) -> None:
    proxy.set_fault(LostAnswer(limit=1, methods=PUTS))

    with storage.open_upload("parts/b") as upload:
        upload.write(SEVERAL_PARTS)

    assert storage.get_bytes("parts/b") == SEVERAL_PARTS


def test_first_error_is_heard_when_the_abort_fails(proxy: S3Proxy, storage: Storage) -> None:
    with pytest.raises(RuntimeError), storage.open_upload("parts/c") as upload:  # noqa: PT012 - the error comes after bytes
        upload.write(SEVERAL_PARTS)
        proxy.set_fault(Refuse())
        raise RuntimeError


def test_deletion_whose_answer_was_lost_is_done(proxy: S3Proxy, storage: Storage) -> None:
    storage.put_bytes("gone/a", b"x")
    proxy.set_fault(LostAnswer(limit=1, methods=POSTS))

    storage.delete_prefix("gone/")

    assert not storage.exists("gone/a")
