"""The client of the store's vendor: how it signs, and how long it waits."""

from typing import TYPE_CHECKING, NamedTuple

import boto3
from botocore.config import Config

from core.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


class Patience(NamedTuple):
    """How long a call waits for a store that does not answer."""

    connect_seconds: float
    read_seconds: float
    attempts: int


PATIENT = Patience(connect_seconds=5, read_seconds=60, attempts=5)
IMPATIENT = Patience(connect_seconds=2, read_seconds=4, attempts=2)  # while a client waits for us


def make_client(settings: Settings, endpoint_url: str | None, patience: Patience) -> "S3Client":
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_access_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=patience.connect_seconds,
            read_timeout=patience.read_seconds,
            retries={"total_max_attempts": patience.attempts, "mode": "standard"},
            max_pool_connections=32,
        ),
    )
