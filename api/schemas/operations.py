"""Health, workers and backbones on the wire."""

from datetime import datetime
from typing import Literal

from api.schemas.common import ApiModel


class Alive(ApiModel):
    status: Literal["ok"] = "ok"


class Readiness(ApiModel):
    """`degraded` still serves: without the broker jobs start up to 30 s later."""

    status: Literal["ok", "degraded", "unavailable"]
    checks: dict[str, Literal["ok", "failed"]]


class WorkerOut(ApiModel):
    id: str
    hostname: str
    pid: int
    queue: str
    slots: int
    gpus: int
    code_version: str
    started_at: datetime
    heartbeat_at: datetime


class WorkerList(ApiModel):
    object: Literal["list"] = "list"
    data: list[WorkerOut]


class BackboneOut(ApiModel):
    name: str
    object: Literal["backbone"] = "backbone"
    sha256: str
    size_bytes: int
    image_size: int
    num_features: int
    num_parameters: int
    created_at: datetime


class BackboneList(ApiModel):
    object: Literal["list"] = "list"
    data: list[BackboneOut]
