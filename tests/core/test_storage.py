import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from core.settings import Settings
from core.storage import DELETE_AT_ONCE, PART_BYTES, Storage
from core.storage_errors import ObjectCorruptError, ObjectMissingError, StorageUnavailableError
from tests.http_servers import serve_http

REFUSED_DELETION = (
    b'<?xml version="1.0"?><DeleteResult><Deleted><Key>gone/b</Key></Deleted>'
    b"<Error><Key>kept/a</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 7])
def test_streamed_bytes_come_back(storage: Storage, tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]

    with storage.open_upload("streamed/a") as upload:
        for start in range(0, size, 1_000_003):
            upload.write(content[start : start + 1_000_003])

    assert upload.stored.sha256 == sha256(content)
    storage.download_file("streamed/a", tmp_path / "a", sha256=upload.stored.sha256)
    assert (tmp_path / "a").read_bytes() == content


def test_broken_off_upload_leaves_nothing(storage: Storage) -> None:
    with pytest.raises(RuntimeError), storage.open_upload("broken/a") as upload:  # noqa: PT012 - the error comes after bytes
        upload.write(b"x" * (PART_BYTES + 1))
        raise RuntimeError

    assert list(storage.list_keys("broken/")) == []


def test_damaged_object_is_refused_and_not_kept(storage: Storage, tmp_path: Path) -> None:
    storage.put_bytes("damaged/a", b"good")

    with pytest.raises(ObjectCorruptError):
        storage.download_file("damaged/a", tmp_path / "a", sha256=sha256(b"other"))

    assert list(tmp_path.iterdir()) == []


def test_missing_object_is_said(storage: Storage) -> None:
    with pytest.raises(ObjectMissingError):
        storage.get_bytes("nothing/here")


def test_object_written_once_keeps_its_first_bytes(storage: Storage) -> None:
    storage.delete_prefix("once/")
    storage.put_once("once/a", b"first")
    storage.put_once("once/a", b"first")

    with pytest.raises(ObjectCorruptError):
        storage.put_once("once/a", b"second")

    assert storage.get_bytes("once/a") == b"first"


def test_deleted_prefix_is_empty_and_its_neighbour_is_not(storage: Storage) -> None:
    storage.put_bytes("gone/a", b"1")
    storage.put_bytes("gone/b/c", b"2")
    storage.put_bytes("gone-not/a", b"3")

    assert storage.delete_prefix("gone/") == 2

    assert list(storage.list_keys("gone")) == ["gone-not/a"]


def test_presigned_download_is_an_attachment(storage: Storage) -> None:
    storage.put_bytes("signed/a", b"content")

    answer = httpx.get(storage.presign_download("signed/a", filename="a.bin"), trust_env=False)

    assert answer.content == b"content"
    assert answer.headers["content-disposition"] == 'attachment; filename="a.bin"'


def test_part_is_signed_for_the_address_that_clients_reach(settings: Settings) -> None:
    public = settings.model_copy(update={"s3_public_endpoint_url": "https://files.example:9000"})
    upload = Storage.from_settings(public).client_upload("signed/a", "at the store")

    url = upload.presign_part(1, size_bytes=5, expires_seconds=60)

    assert url.startswith(f"https://files.example:9000/{settings.s3_bucket}/signed/a?")


def test_unsigned_request_is_refused(storage: Storage) -> None:
    storage.put_bytes("signed/a", b"content")
    unsigned = storage.presign_download("signed/a", filename="a.bin").partition("?")[0]

    assert httpx.get(unsigned, trust_env=False).status_code == 403


def test_store_that_is_down_is_said(settings: Settings) -> None:
    storage = Storage.from_settings(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))

    with pytest.raises(StorageUnavailableError):
        storage.get_bytes("any")


def test_upload_finished_by_a_try_whose_answer_was_lost_is_finished(storage: Storage) -> None:
    upload = storage.open_upload("lost/a")
    upload.write(b"x" * PART_BYTES)
    storage.put_bytes("lost/a", b"x" * PART_BYTES)
    upload.abort()  # the store forgets an upload that is finished, as it does one that is aborted

    upload.finish()


def test_upload_that_is_gone_without_its_object_is_said(storage: Storage) -> None:
    storage.delete_prefix("lost/")
    upload = storage.open_upload("lost/a")
    upload.write(b"x" * PART_BYTES)
    storage.put_bytes("lost/a", b"short")
    upload.abort()

    with pytest.raises(StorageUnavailableError):
        upload.finish()


def test_part_of_an_upload_that_is_gone_is_said(storage: Storage) -> None:
    upload = storage.open_upload("lost/b")
    upload.write(b"x" * PART_BYTES)
    upload.abort()

    with pytest.raises(StorageUnavailableError):
        upload.write(b"x" * PART_BYTES)


def test_aborting_twice_is_fine(storage: Storage) -> None:
    upload = storage.open_upload("lost/c")
    upload.write(b"x" * PART_BYTES)

    upload.abort()
    upload.abort()


def test_more_keys_than_one_request_takes_are_deleted(storage: Storage) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: storage.put_bytes(f"many/{number}", b"x"), range(DELETE_AT_ONCE + 5)))

    assert storage.delete_prefix("many/") == DELETE_AT_ONCE + 5

    assert list(storage.list_keys("many/")) == []


def test_deleted_prefix_has_no_unfinished_uploads_and_its_neighbour_keeps_its_own(storage: Storage) -> None:
    for key in ("unfinished/a", "unfinished/a", "unfinished/b/c", "unfinished-not/a"):
        storage.open_upload(key).write(b"x" * (PART_BYTES + 1))

    storage.delete_prefix("unfinished/")

    left = list(storage.list_uploads("unfinished"))
    assert [upload.key for upload in left] == ["unfinished-not/a"]
    storage.abort_upload(left[0])
    storage.abort_upload(left[0])  # gone already


def test_key_that_the_store_keeps_is_an_error_although_the_answer_is_200(settings: Settings) -> None:
    with serve_http(REFUSED_DELETION) as url:
        storage = Storage.from_settings(settings.model_copy(update={"s3_endpoint_url": url}))

        with pytest.raises(StorageUnavailableError, match="kept 1 objects \\(AccessDenied\\)"):
            storage.delete_keys(["kept/a", "gone/b"])

        assert storage.num_errors == 1


def test_only_trouble_of_the_store_is_counted(settings: Settings, storage: Storage) -> None:
    storage.delete_prefix("once/")
    before = storage.num_errors
    with suppress(ObjectMissingError):
        storage.get_bytes("nothing/here")
    storage.put_once("once/a", b"first")
    storage.put_once("once/a", b"first")
    assert storage.num_errors == before

    down = Storage.from_settings(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))
    with suppress(StorageUnavailableError), down.open_upload("any") as upload:
        upload.write(b"x")

    assert down.num_errors == 1
