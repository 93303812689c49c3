"""The object store: S3 by boto3, the vendor's errors translated here."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict

from core.errors import BituneError, ErrorCategory, UnavailableError
from core.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CHUNK_BYTES = 1024**2
PART_BYTES = 8 * 1024**2  # S3 wants at least 5 MiB a part


class StorageUnavailableError(UnavailableError):
    """The store did not answer, or refused what it should accept."""


class ObjectMissingError(BituneError):
    category = ErrorCategory.NOT_FOUND


class ObjectCorruptError(BituneError):
    """What the store returned is not what its row promises."""

    category = ErrorCategory.UNAVAILABLE


class StoredObject(BaseModel):
    model_config = ConfigDict(frozen=True)

    size_bytes: int
    sha256: str


class ListedObject(NamedTuple):
    key: str
    modified_at: datetime
    size_bytes: int


class Storage:
    """One bucket. Calls block; each retries briefly by itself and then raises."""

    def __init__(self, client: "S3Client", public_client: "S3Client", bucket: str) -> None:
        self._client = client
        self._public_client = public_client
        self._bucket = bucket

    @classmethod
    def from_settings(cls, settings: Settings) -> "Storage":
        public_url = settings.s3_public_endpoint_url or settings.s3_endpoint_url
        return cls(
            client=_make_client(settings, settings.s3_endpoint_url),
            public_client=_make_client(settings, public_url),
            bucket=settings.s3_bucket,
        )

    def ensure_bucket(self) -> None:
        with _translated(self._bucket):
            existing = {bucket.get("Name") for bucket in self._client.list_buckets().get("Buckets", [])}
            if self._bucket not in existing:
                self._client.create_bucket(Bucket=self._bucket)

    def check(self) -> None:
        with _translated(self._bucket):
            self._client.head_bucket(Bucket=self._bucket)

    def put_bytes(self, key: str, content: bytes) -> StoredObject:
        with _translated(key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
        return StoredObject(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def put_once(self, key: str, content: bytes) -> None:
        """Writes an object that nobody has written; the same bytes written before count as success."""
        try:
            with _translated(key):
                self._client.put_object(Bucket=self._bucket, Key=key, Body=content, IfNoneMatch="*")
        except _ConditionFailedError as exc:
            if self.get_bytes(key) != content:
                raise ObjectCorruptError("object_conflict", f"{key} exists with other bytes") from exc

    def put_file(self, key: str, path: Path) -> StoredObject:
        with path.open("rb") as file, self.open_upload(key) as upload:
            while chunk := file.read(PART_BYTES):
                upload.write(chunk)
        return upload.stored

    def open_upload(self, key: str) -> "StreamedUpload":
        return StreamedUpload(self._client, self._bucket, key)

    def exists(self, key: str) -> bool:
        try:
            with _translated(key):
                self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissingError:
            return False
        return True

    def get_bytes(self, key: str) -> bytes:
        with _translated(key):
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def download_file(self, key: str, path: Path, *, sha256: str) -> None:
        """Writes `path` by a temporary name once size and SHA-256 are seen to be right."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid4().hex}.part")  # two jobs of a host may fetch the same file
        digest = hashlib.sha256()
        try:
            with _translated(key), part.open("wb") as file:
                body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
                for chunk in body.iter_chunks(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ObjectCorruptError("object_corrupt", f"{key} does not have the SHA-256 that was recorded")
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
        with _translated(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield ListedObject(item["Key"], item["LastModified"], item["Size"])

    def delete_prefix(self, prefix: str) -> int:
        """Deletes every object and every unfinished upload below `prefix`; the number of objects."""
        keys = list(self.list_keys(prefix))
        with _translated(prefix):
            for start in range(0, len(keys), 1000):
                batch = keys[start : start + 1000]
                self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch]})
            uploads = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=prefix).get("Uploads", [])
            for upload in uploads:
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return len(keys)


class StreamedUpload:
    """Stores bytes as they come, a part at a time: memory stays at one part, nothing touches the disk."""

    def __init__(self, client: "S3Client", bucket: str, key: str) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
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
        else:
            self.abort()

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

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
        with _translated(self._key):
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
            with _translated(self._key):
                self._client.put_object(Bucket=self._bucket, Key=self._key, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send_part(bytes(self._buffer))
        with _translated(self._key):
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                MultipartUpload={
                    "Parts": [{"ETag": etag, "PartNumber": number} for number, etag in enumerate(self._etags, start=1)]
                },
            )

    def abort(self) -> None:
        if self._upload_id is None:
            return
        with _translated(self._key):
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=self._key, UploadId=self._upload_id)


class _ConditionFailedError(StorageUnavailableError):
    """If-None-Match found an object."""


@contextmanager
def _translated(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as exc:
        raise _translate(key, exc.response.get("Error", {}).get("Code", "")) from exc
    except BotoCoreError as exc:
        raise StorageUnavailableError("storage_unavailable", "the object store cannot be reached") from exc


def _translate(key: str, code: str) -> BituneError:
    if code in {"NoSuchKey", "404", "NoSuchBucket"}:
        return ObjectMissingError("object_missing", f"{key} is not in the store")
    if code in {"PreconditionFailed", "412", "ConditionalRequestConflict", "409"}:
        return _ConditionFailedError("object_exists", f"{key} exists")
    return StorageUnavailableError("storage_unavailable", f"the object store refused the request ({code or 'unknown'})")


def _make_client(settings: Settings, endpoint_url: str | None) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 4, "mode": "standard"},
            max_pool_connections=32,
        ),
    )
