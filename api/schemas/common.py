"""Shapes that every resource shares."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Item = TypeVar("Item")

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
MetadataField = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=16, description="Up to 16 labels of your own"),
]


class ApiModel(BaseModel):
    """Unknown fields are refused on the way in; nothing changes on the way out."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldError(ApiModel):
    pointer: str
    code: str
    detail: str


class Problem(ApiModel):
    """RFC 9457 problem details: what happened, and what to do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:bitune:problem:unknown_backbone",
                    "title": "The request is not valid",
                    "status": 422,
                    "detail": "the backbone 'resnet51' is not registered here",
                    "instance": "/jobs",
                    "code": "unknown_backbone",
                    "param": "backbone",
                    "hint": "registered: tf_efficientnet_lite0; add one with `bitune backbones add`",
                    "request_id": "req_01k9ve5x3g7q8v5t2m6n4p8r0s",
                    "retryable": False,
                    "errors": [],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    param: str | None = None
    hint: str | None = None
    request_id: str | None = None
    retryable: bool = False
    errors: list[FieldError] = []


class ListOf(ApiModel, Generic[Item]):
    """One page; pass `last_id` as `after` for the next."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DownloadPart(ApiModel):
    """One file behind a presigned URL, valid for 15 minutes."""

    name: str
    size_bytes: int
    sha256: str
    url: str


class Download(ApiModel):
    parts: list[DownloadPart]
