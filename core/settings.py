"""What the operator sets, from `BITUNE_*` environment variables; read once at the edge and passed down."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.cores import count_cores


def _read_limit(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in {"", "none"} else value


Limit = Annotated[Annotated[int, Field(ge=0)] | None, BeforeValidator(_read_limit)]


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
    max_upload_bytes: int = Field(2 * 1024**3, description="Of a file in one request, and of an http URL")
    max_archive_bytes: int = Field(10 * 1024**3, description="Of an upload in parts, and of an s3 URL")
    max_json_bytes: int = 1024**2
    max_predict_bytes: int = 100 * 1024**2
    max_predict_images: int = 64
    max_predict_image_bytes: int = 10_000_000

    # Limits of datasets; docs/datasets.md says what each one refuses
    max_unpacked_bytes: int = 10 * 1024**3
    max_members: int = 100_000
    max_unpack_ratio: float = Field(20.0, description="Unpacked to packed bytes, above unpack_ratio_free_bytes")
    unpack_ratio_free_bytes: int = 64 * 1024**2
    max_member_ratio: float = Field(200.0, description="Of a zip's member that unpacks to more than 1 MiB")
    max_zstd_window_bytes: int = 128 * 1024**2
    max_labels_file_bytes: int = 32 * 1024**2
    max_image_bytes: int = 30_000_000
    max_image_pixels: int = 40_000_000
    max_image_side: int = 16_384
    min_image_side: int = Field(8, ge=1)
    min_images_per_class: int = Field(5, ge=1, description="Different ones")
    max_classes: int = Field(10_000, ge=2)
    import_decoders: int = Field(2, ge=0, description="Processes that decode the pictures of one import")
    import_memory_bytes: int = Field(2 * 1024**3, description="Of each process of an import")
    import_timeout_seconds: int = 3600

    # Quotas: what each project may have, where `bitune quotas set` says nothing else; "none" is no limit
    quota_stored_bytes: Limit = 1024**4
    quota_datasets: Limit = 1000
    quota_queued_jobs: Limit = 200
    quota_running_jobs: Limit = None
    quota_uploads_at_once: Limit = 8
    quota_requests_per_second: Limit = Field(200, description="On average; five seconds' worth at once")

    # Uploads in parts
    upload_part_bytes: int = Field(16 * 1024**2, ge=5 * 1024**2, description="At least; S3 takes no smaller ones")
    upload_lifetime_hours: float = Field(24.0, gt=0, description="After which one that became no dataset is deleted")

    # Dataset URLs
    url_allow_http: bool = False
    url_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated hosts that may have private addresses and plain http"
    )
    url_extra_ports: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Comma-separated ports beside 443, and 80 where http is allowed"
    )
    url_ca_file: Path | None = Field(
        None, description="PEM file of authorities that are trusted beside the public ones"
    )
    s3_import_buckets: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated buckets of the store whose objects every project may import"
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
    spare_trainers: bool = Field(
        True, description="Keep a process ready for the next job in every idle slot; each takes 420 MB of memory"
    )
    reserve_after_seconds: float = Field(
        1800.0, description="A job of several GPUs that waits for so long gets a worker that drains for it"
    )
    configured_gpus: int | None = Field(
        None,
        ge=0,
        description="GPUs of the largest worker that will be started; more are refused if no worker has them",
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
    model_cache_bytes: int = Field(2 * 1024**3, description="Of the models that an API process keeps loaded")
    model_files_bytes: int = Field(20 * 1024**3, description="Of the models' files that a host keeps")
    decode_workers: int = Field(2, ge=1, description="Processes that decode the pictures of predict requests")
    predict_threads: int = Field(
        1,
        ge=1,
        description="Cores that compute one batch beside others; as many batches at once as there are cores for",
    )
    predict_batch_size: int = Field(16, ge=1, description="Pictures that go through a network together")
    predict_waiting_images: int = Field(
        256, ge=1, description="Pictures at work in an API process, above which it answers 503; a project has 3/4 of it"
    )
    predict_device: Literal["cpu", "cuda"] = "cpu"
    predict_gpu_memory_share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Of a GPU's memory, with BITUNE_PREDICT_DEVICE=cuda; jobs have the rest",
    )
    predict_precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="bf16 is faster where the processor computes in it, and its probabilities are less exact"
    )
    predict_url_seconds: float = Field(10.0, gt=0, description="For all pictures that one request names by URL")
    predict_url_fetches: int = Field(16, ge=1, description="Such pictures fetched side by side by this process")
    predict_url_fetches_per_project: int = Field(4, ge=1, description="Of those, for one project")
    predict_timeout_seconds: float = Field(60.0, description="For the answer to a predict request; others have 9 s")

    @field_validator("url_extra_ports", mode="before")
    @classmethod
    def _split_ports(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(port.strip() for port in value.split(",") if port.strip())
        return value

    @field_validator("url_allowed_hosts", "s3_import_buckets", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip().lower() for name in value.split(",") if name.strip())
        return value

    @model_validator(mode="after")
    def _keep_own_bucket(self) -> Self:
        if self.s3_bucket in self.s3_import_buckets:
            raise ValueError("s3_import_buckets names the service's own bucket: every project could read all others")
        return self

    @property
    def simultaneous_predictions(self) -> int:
        """One on a GPU; on a CPU more than one need less time together than one after the other on all cores."""
        return 1 if self.predict_device == "cuda" else max(1, count_cores() // self.predict_threads)

    @property
    def training_gpu_memory_share(self) -> float:
        """What predict leaves of a GPU."""
        return 1 - self.predict_gpu_memory_share if self.predict_device == "cuda" else 1.0

    @property
    def work_dir(self) -> Path:
        return self.home / "work"

    @property
    def cache_dir(self) -> Path:
        return self.home / "cache"
