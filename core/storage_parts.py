"""One upload whose parts a client sends straight to the store, by presigned URLs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from core.storage_errors import ObjectMissingError, StorageErrors, UploadGoneError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class ReceivedPart(NamedTuple):
    number: int
    size_bytes: int
    etag: str
    received_at: datetime


class ClientUpload:
    """Raises UploadGoneError once the store has finished, aborted or forgotten it."""

    def __init__(
        self,
        client: "S3Client",
        public_client: "S3Client",
        *,
        bucket: str,
        key: str,
        multipart_id: str,
        errors: StorageErrors,
    ) -> None:
        self._client = client
        self._public_client = public_client
        self._bucket = bucket
        self._key = key
        self._multipart_id = multipart_id
        self._errors = errors

    def presign_part(self, number: int, *, size_bytes: int, expires_seconds: int) -> str:
        """The length is signed: the store refuses a part that is longer or shorter."""
        return self._public_client.generate_presigned_url(
            "upload_part",
            Params={
                "Bucket": self._bucket,
                "Key": self._key,
                "UploadId": self._multipart_id,
                "PartNumber": number,
                "ContentLength": size_bytes,
            },
            ExpiresIn=expires_seconds,
        )

    def list_parts(self) -> dict[int, ReceivedPart]:
        """By number. Of a part that was sent twice, some stores list both: the later one counts.

        Where two that differ came in one second, nobody knows which: it is as if none had come.
        """
        sent: dict[int, list[ReceivedPart]] = {}
        for part in self._list_all():
            sent.setdefault(part.number, []).append(part)
        last = {number: _find_last(parts) for number, parts in sent.items()}
        return {number: part for number, part in last.items() if part is not None}

    def _list_all(self) -> Iterator[ReceivedPart]:
        with self._translated():
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=self._key, UploadId=self._multipart_id
            )
            for page in pages:
                for part in page.get("Parts", []):
                    yield ReceivedPart(part["PartNumber"], part["Size"], part["ETag"], part["LastModified"])

    def finish(self, parts: Sequence[ReceivedPart]) -> None:
        with self._translated():
            self._client.complete_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._multipart_id,
                MultipartUpload={"Parts": [{"ETag": part.etag, "PartNumber": part.number} for part in parts]},
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._errors.translated(self._key):
                yield
        except ObjectMissingError as exc:
            raise UploadGoneError("upload_gone", f"the store no longer knows the upload of {self._key}") from exc


def _find_last(parts: Sequence[ReceivedPart]) -> ReceivedPart | None:
    last_at = max(part.received_at for part in parts)
    last = [part for part in parts if part.received_at == last_at]
    return last[0] if len({part.etag for part in last}) == 1 else None
