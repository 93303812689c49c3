import hashlib
from pathlib import Path

import httpx
import pytest

from core.settings import Settings
from core.storage import PART_BYTES, ObjectCorruptError, ObjectMissingError, Storage, StorageUnavailableError


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


def test_unsigned_request_is_refused(storage: Storage) -> None:
    storage.put_bytes("signed/a", b"content")
    unsigned = storage.presign_download("signed/a", filename="a.bin").partition("?")[0]

    assert httpx.get(unsigned, trust_env=False).status_code == 403


def test_store_that_is_down_is_said(settings: Settings) -> None:
    storage = Storage.from_settings(settings.model_copy(update={"s3_endpoint_url": "http://127.0.0.1:9"}))

    with pytest.raises(StorageUnavailableError):
        storage.get_bytes("any")
