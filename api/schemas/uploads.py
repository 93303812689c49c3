"""Uploads in parts on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from api.schemas.common import ApiModel
from core.db.tables import Upload
from core.upload_parts import UploadPart

Sha256Field = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class UploadCreate(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"filename": "cells.zip", "size_bytes": 25_000_000, "sha256": "9f" * 32}],
        }
    )

    filename: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    size_bytes: Annotated[int, Field(gt=0, lt=2**63, description="Exactly: the store refuses more and less")]
    sha256: Annotated[
        Sha256Field | None, Field(description="Checked by the import, which fails where it is another")
    ] = None


class UploadPartOut(ApiModel):
    """PUT `size_bytes` bytes of the file to `url`, with no header but the length; parts may go in any order."""

    number: int
    size_bytes: int
    received: bool
    url: str | None  # None once it is received


class UploadOut(ApiModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "upload_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "object": "upload",
                    "status": "pending",
                    "filename": "cells.zip",
                    "size_bytes": 25_000_000,
                    "sha256": "9f" * 32,
                    "part_size_bytes": 16_777_216,
                    "parts": [
                        {
                            "number": 1,
                            "size_bytes": 16_777_216,
                            "received": False,
                            "url": "https://store.example.com/bitune/uploads/…?partNumber=1&X-Amz-Signature=…",
                        },
                        {
                            "number": 2,
                            "size_bytes": 8_222_784,
                            "received": False,
                            "url": "https://store.example.com/bitune/uploads/…?partNumber=2&X-Amz-Signature=…",
                        },
                    ],
                    "urls_expire_at": "2026-11-23T13:00:00Z",
                    "expires_at": "2026-11-24T12:00:00Z",
                    "created_at": "2026-11-23T12:00:00Z",
                    "completed_at": None,
                }
            ]
        }
    )

    id: str
    object: Literal["upload"] = "upload"
    status: Literal["pending", "completed"]
    filename: str
    size_bytes: int
    sha256: str | None  # as announced
    part_size_bytes: int  # of all but the last
    parts: list[UploadPartOut]  # empty once it is completed
    urls_expire_at: datetime | None
    expires_at: datetime | None  # None once a dataset was made of it
    created_at: datetime
    completed_at: datetime | None


def render_upload(
    upload: Upload,
    parts: Sequence[UploadPart] = (),
    urls: dict[int, str] | None = None,
    *,
    until: datetime | None = None,
) -> UploadOut:
    """`urls` by part number, of those that are missing; they work `until` then."""
    urls = urls or {}
    return UploadOut(
        id=upload.id,
        status="pending" if upload.completed_at is None else "completed",
        filename=upload.filename,
        size_bytes=upload.size_bytes or 0,
        sha256=upload.expected_sha256,
        part_size_bytes=upload.part_bytes or 0,
        parts=[
            UploadPartOut(
                number=part.number,
                size_bytes=part.size_bytes,
                received=part.is_received,
                url=urls.get(part.number),
            )
            for part in parts
        ],
        urls_expire_at=until,
        expires_at=upload.expires_at,
        created_at=upload.created_at,
        completed_at=upload.completed_at,
    )
