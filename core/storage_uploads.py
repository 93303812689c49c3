"""One upload to the object store, in parts."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from core.storage_errors import ObjectMissingError, StorageErrors, StorageUnavailableError, UploadGoneError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 8 * 1024**2  # S3 wants at least 5 MiB a part


class StoredObject(BaseModel):
    model_config = ConfigDict(frozen=True)

    size_bytes: int
    sha256: str


class StreamedUpload:
    """Stores bytes as they come, a part at a time: memory stays at one part, nothing touches the disk."""

    def __init__(self, client: "S3Client", bucket: str, key: str, errors: StorageErrors) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._errors = errors
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._upload_id: str | None = None
        self._etags: list[str] = []

    def __enter__(self) -> "StreamedUpload":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.finish()
            return
        with suppress(StorageUnavailableError):  # what went wrong first is what the caller must hear
            self.abort()

    @property
    def stored(self) -> StoredObject:
        return StoredObject(size_bytes=self._size_bytes, sha256=self._digest.hexdigest())

    def write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._size_bytes += len(chunk)
        self._buffer += chunk
        while len(self._buffer) >= PART_BYTES:
            self._send_part(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]

    def _send_part(self, part: bytes) -> None:
        with self._translated():
            if self._upload_id is None:
                started = self._client.create_multipart_upload(Bucket=self._bucket, Key=self._key)
                self._upload_id = started["UploadId"]
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                PartNumber=len(self._etags) + 1,
                Body=part,
            )
        self._etags.append(answer["ETag"])

    def finish(self) -> None:
        if self._upload_id is None:
            with self._errors.translated(self._key):
                self._client.put_object(Bucket=self._bucket, Key=self._key, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send_part(bytes(self._buffer))
            self._buffer.clear()
        try:
            self._complete(self._upload_id)
        except UploadGoneError:
            if self._find_size_bytes() != self._size_bytes:
                raise

    def _complete(self, upload_id: str) -> None:
        parts: list[CompletedPartTypeDef] = [
            {"ETag": etag, "PartNumber": number} for number, etag in enumerate(self._etags, start=1)
        ]
        with self._translated():
            self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=self._key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )

    def _find_size_bytes(self) -> int | None:
        try:
            with self._errors.translated(self._key):
                return self._client.head_object(Bucket=self._bucket, Key=self._key)["ContentLength"]
        except ObjectMissingError:
            return None

    def abort(self) -> None:
        if self._upload_id is None:
            return
        with suppress(UploadGoneError), self._translated():
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload_id)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._errors.translated(self._key):
                yield
        except ObjectMissingError as exc:
            raise UploadGoneError("upload_gone", f"the store no longer knows the upload of {self._key}") from exc
