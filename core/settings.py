"""What the operator sets, from `BITUNE_*` environment variables; read once at the edge and passed down."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Every field is `BITUNE_` + its name in capitals; those without a default must be set."""

    model_config = SettingsConfigDict(env_prefix="BITUNE_", frozen=True)

    # Servers
    database_url: SecretStr = Field(description="postgresql+psycopg://user:password@host:port/name")
    broker_url: SecretStr = Field(description="redis://:password@host:port/0")
    s3_endpoint_url: str | None = Field(None, description="None is AWS")
    s3_public_endpoint_url: str | None = Field(
        None, description="Address that clients reach; presigned URLs are signed for it"
    )
    s3_region: str = "us-east-1"
    s3_bucket: str = "bitune"
    s3_access_key_id: SecretStr
    s3_secret_access_key: SecretStr

    # This process
    home: Path = Field(Path(".bitune"), description="Work folders and caches of this host")
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: str = "INFO"
    database_pool_size: int = 10

    # Limits of requests
    max_upload_bytes: int = 2 * 1024**3
    max_json_bytes: int = 1024**2
    max_predict_bytes: int = 100 * 1024**2
    max_predict_images: int = 64
    max_predict_image_bytes: int = 10_000_000

    # Limits of datasets
    max_unpacked_bytes: int = 10 * 1024**3
    max_members: int = 100_000
    max_image_bytes: int = 30_000_000
    max_image_pixels: int = 40_000_000
    max_image_side: int = 16_384
    import_decoders: int = Field(2, ge=0, description="Processes that decode the pictures of one import")
    import_memory_bytes: int = Field(2 * 1024**3, description="Of each process of an import")
    import_timeout_seconds: int = 3600

    # Dataset URLs
    url_allow_http: bool = False
    url_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated hosts that may have private addresses and plain http"
    )

    # The run engine
    lease_seconds: float = 30.0
    heartbeat_seconds: float = 2.0
    sweep_seconds: float = 5.0
    look_seconds: float = 30.0
    checkpoint_interval_seconds: float = 60.0
    stop_grace_seconds: float = 3.0
    pause_grace_seconds: float = Field(6.0, description="For the checkpoint of a job that is paused")
    handback_grace_seconds: float = 60.0
    stall_seconds: float = Field(1800.0, description="A trainer that says nothing for so long hangs, and is killed")
    worker_queue: Literal["train", "imports"] = Field("train", description="What this worker process runs")
    worker_slots: int | None = Field(
        None, ge=1, description="Runs side by side in this worker process; unset is one a GPU, one on a CPU"
    )
    reserve_after_seconds: float = Field(
        1800.0, description="A job of several GPUs that waits for so long gets a worker that drains for it"
    )
    configured_gpus: int = Field(
        0, description="GPUs of the largest worker that will be started; more are refused if no worker has them"
    )
    segment_seconds: float = Field(10.0, description="How often a running job's metrics and log are stored")
    pixel_cache_bytes: int = Field(
        100 * 1024**3, description="What decoded datasets may take on this host; those used last stay"
    )
    orphan_interval_hours: float = Field(
        24.0, ge=0, description="How often a worker deletes what killed attempts left in the store; 0 is never"
    )
    outage_seconds: float = Field(900.0, description="How long an attempt outwaits a store or database that is away")

    # Predict
    model_cache_bytes: int = 2 * 1024**3
    decode_workers: int = 2
    predict_timeout_seconds: float = Field(60.0, description="For the answer to a predict request; others have 9 s")

    @field_validator("url_allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(host.strip().lower() for host in value.split(",") if host.strip())
        return value

    @property
    def work_dir(self) -> Path:
        return self.home / "work"

    @property
    def cache_dir(self) -> Path:
        return self.home / "cache"
