"""The object store: S3 by boto3, the vendor's errors translated here."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from core.settings import Settings
from core.storage_client import PATIENT, Patience, make_client
from core.storage_errors import (
    ConditionFailedError,
    ObjectCorruptError,
    ObjectMissingError,
    StorageErrors,
    StorageUnavailableError,
)
from core.storage_parts import ClientUpload
from core.storage_uploads import PART_BYTES, StoredObject, StreamedUpload

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

__all__ = [
    "CHUNK_BYTES",
    "DELETE_AT_ONCE",
    "PART_BYTES",
    "ClientUpload",
    "ListedObject",
    "OpenedObject",
    "Storage",
    "StoredObject",
    "UnfinishedUpload",
]

CHUNK_BYTES = 1024**2
DELETE_AT_ONCE = 1000  # keys in one request; S3 takes no more


class ListedObject(NamedTuple):
    key: str
    modified_at: datetime
    size_bytes: int


class OpenedObject(NamedTuple):
    size_bytes: int
    chunks: Iterator[bytes]
    close: Callable[[], None]  # for who does not read its chunks


class UnfinishedUpload(NamedTuple):
    """Parts that were sent and never made an object."""

    key: str
    upload_id: str
    started_at: datetime


class Storage:
    """One bucket. Calls block; each retries briefly by itself and then raises."""

    def __init__(self, client: "S3Client", public_client: "S3Client", bucket: str) -> None:
        self._client = client
        self._public_client = public_client
        self._bucket = bucket
        self._errors = StorageErrors()

    @classmethod
    def from_settings(cls, settings: Settings, patience: Patience = PATIENT) -> "Storage":
        public_url = settings.s3_public_endpoint_url or settings.s3_endpoint_url
        return cls(
            client=make_client(settings, settings.s3_endpoint_url, patience),
            public_client=make_client(settings, public_url, patience),
            bucket=settings.s3_bucket,
        )

    @property
    def num_errors(self) -> int:
        """How often the store was away or refused what it should accept."""
        return self._errors.count

    def for_bucket(self, bucket: str) -> "Storage":
        """Another bucket of the same store."""
        return Storage(self._client, self._public_client, bucket)

    def ensure_bucket(self) -> None:
        with self._errors.translated(self._bucket):
            existing = {bucket.get("Name") for bucket in self._client.list_buckets().get("Buckets", [])}
            if self._bucket not in existing:
                self._client.create_bucket(Bucket=self._bucket)

    def check(self) -> None:
        with self._errors.translated(self._bucket):
            self._client.head_bucket(Bucket=self._bucket)

    def put_bytes(self, key: str, content: bytes) -> StoredObject:
        with self._errors.translated(key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
        return StoredObject(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def put_once(self, key: str, content: bytes) -> None:
        """Writes an object that nobody has written; the same bytes written before count as success."""
        try:
            with self._errors.translated(key):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=content, IfNoneMatch="*")
        except ConditionFailedError as exc:
            if self._get_contended(key) != content:
                raise ObjectCorruptError("object_conflict", f"{key} exists with other bytes") from exc

    def _get_contended(self, key: str) -> bytes:
        try:
            return self.get_bytes(key)
        except ObjectMissingError as exc:
            raise StorageUnavailableError("object_contended", f"{key} is being written by somebody else") from exc

    def put_file(self, key: str, path: Path) -> StoredObject:
        with path.open("rb") as file, self.open_upload(key) as upload:
            while chunk := file.read(PART_BYTES):
                upload.write(chunk)
        return upload.stored

    def open_upload(self, key: str) -> StreamedUpload:
        return StreamedUpload(self._client, self._bucket, key, self._errors)

    def start_client_upload(self, key: str) -> str:
        """Its name at the store, with which `client_upload` opens it."""
        with self._errors.translated(key):
            return self._client.create_multipart_upload(Bucket=self._bucket, Key=key)["UploadId"]

    def client_upload(self, key: str, multipart_id: str) -> ClientUpload:
        return ClientUpload(
            self._client,
            self._public_client,
            bucket=self._bucket,
            key=key,
            multipart_id=multipart_id,
            errors=self._errors,
        )

    def exists(self, key: str) -> bool:
        return self.find_size_bytes(key) is not None

    def find_size_bytes(self, key: str) -> int | None:
        """None where there is no such object."""
        try:
            with self._errors.translated(key):
                return self._client.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
        except ObjectMissingError:
            return None

    def get_bytes(self, key: str) -> bytes:
        with self._errors.translated(key):
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def get_range(self, key: str, offset: int, size_bytes: int) -> bytes:
        """`size_bytes` is at least 1, and all of them exist."""
        with self._errors.translated(key):
            span = f"bytes={offset}-{offset + size_bytes - 1}"
            return self._client.get_object(Bucket=self._bucket, Key=key, Range=span)["Body"].read()

    def open_object(self, key: str) -> OpenedObject:
        """Nothing is read before its chunks are."""
        with self._errors.translated(key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        body = answer["Body"]
        return OpenedObject(answer["ContentLength"], self._iterate(key, body), body.close)

    def _iterate(self, key: str, body: "StreamingBody") -> Iterator[bytes]:
        with self._errors.translated(key), closing(body):
            yield from body.iter_chunks(CHUNK_BYTES)

    def download_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Writes `path` by a temporary name once size and SHA-256 are seen to be right."""
        with self._downloaded(key, path) as stored:
            if stored.sha256 != sha256:
                raise ObjectCorruptError("object_corrupt", f"{key} does not have the SHA-256 that was recorded")

    def copy_file(self, key: str, path: Path, *, on_bytes: Callable[[int], None]) -> StoredObject:
        """For an object whose SHA-256 is not known yet; `on_bytes` hears how many have come."""
        with self._downloaded(key, path, on_bytes) as stored:
            return stored

    @contextmanager
    def _downloaded(
        self, key: str, path: Path, on_bytes: Callable[[int], None] = lambda _: None
    ) -> Iterator[StoredObject]:
        """`path` gets its name when the block ends well."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid4().hex}.part")  # two jobs of a host may fetch the same file
        digest = hashlib.sha256()
        size_bytes = 0
        try:
            with part.open("wb") as file:
                for chunk in self.open_object(key).chunks:
                    digest.update(chunk)
                    file.write(chunk)
                    size_bytes += len(chunk)
                    on_bytes(size_bytes)
            yield StoredObject(size_bytes=size_bytes, sha256=digest.hexdigest())
            part.rename(path)
        finally:
            part.unlink(missing_ok=True)

    def presign_download(self, key: str, *, filename: str, expires_seconds: int = 900) -> str:
        return self._public_client.generate_presigned_url(
            "get_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ResponseContentType": "application/octet-stream",
                "ResponseContentDisposition": f'attachment; filename="{filename}"',
            },
            ExpiresIn=expires_seconds,
        )

    def list_keys(self, prefix: str) -> Iterator[str]:
        return (item.key for item in self.list_objects(prefix))

    def list_objects(self, prefix: str) -> Iterator[ListedObject]:
        """In the order of their keys."""
        with self._errors.translated(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ListedObject(item["Key"], item["LastModified"], item["Size"])

    def list_uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        with self._errors.translated(prefix):
            for page in self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=prefix
            ):
                for item in page.get("Uploads", []):
                    yield UnfinishedUpload(item["Key"], item["UploadId"], item["Initiated"])

    def delete_prefix(self, prefix: str) -> int:
        """Deletes every object and every unfinished upload below `prefix`; the number of objects.

        Uploads first: one that is finished meanwhile is an object then, and is listed.
        """
        for upload in list(self.list_uploads(prefix)):
            self.abort_upload(upload)
        keys = list(self.list_keys(prefix))
        self.delete_keys(keys)
        return len(keys)

    def delete_keys(self, keys: Sequence[str]) -> None:
        """What is gone already counts as deleted; raises when the store keeps one."""
        for start in range(0, len(keys), DELETE_AT_ONCE):
            batch = keys[start : start + DELETE_AT_ONCE]
            with self._errors.translated(batch[0]):
                answer = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
                kept = answer.get("Errors", [])  # in an answer of 200
                if kept:
                    raise StorageUnavailableError(
                        "deletion_refused", f"the store kept {len(kept)} objects ({kept[0].get('Code', 'unknown')})"
                    )

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """One that was finished or aborted meanwhile is fine."""
        try:
            with self._errors.translated(upload.key):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload.key, UploadId=upload.upload_id)
        except ObjectMissingError:
            return
