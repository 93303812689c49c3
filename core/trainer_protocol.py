"""What the worker and the trainer process say to each other: one task file, JSON lines, an exit code."""

from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.specs import BackboneDescription, ResolvedSpec

TASK_FILE = "job.json"
LINES_FIFO = "lines.fifo"
WAIT_FLAG = "--wait"  # before the folder of the worker, instead of a work directory: a spare
SPARE_IS_READY = b"ready\n"  # what it writes to its standard output when it waits
SPARE_BEGINS = b"begins\n"  # and when it has its assignment; the rest goes to the log


class ExitCode(IntEnum):
    """How the trainer process ended."""

    OK = 0
    INTERNAL = 1
    USER_ERROR = 10
    DIVERGED = 11
    OUT_OF_MEMORY = 12
    INTERRUPTED = 13  # it obeyed SIGTERM after writing a checkpoint, or lost its worker
    NO_SPACE = 14


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Lineage(_Message):
    """Where a model comes from; written into its `model.json`."""

    job_id: str
    dataset_id: str
    dataset_sha256: str
    attempt: int
    code_version: str


class Assignment(_Message):
    """What a spare reads from standard input, on one line: all that a trainer of one job is started with."""

    work_dir: Path
    log_path: Path  # for both of its outputs
    variables: dict[str, str]  # of its environment


class Task(_Message):
    """`job.json`: everything the process needs. It reads and writes nothing else."""

    spec: ResolvedSpec
    classes: list[str]  # in the frozen order of the dataset; a label is an index into it
    backbone: BackboneDescription
    weights_path: Path  # of the pre-trained backbone: safetensors in timm's names
    device: str = "cpu"  # "cpu" or "cuda"
    num_threads: int | None = None
    gpu_memory_share: float = 1.0  # of each GPU: the rest is for predict


class ProbeJob(Task):
    """A few steps on made-up pictures, to see how fast they go."""

    type: Literal["probe"] = "probe"


class TrainerJob(Task):
    """One attempt at a training."""

    type: Literal["train"] = "train"
    dataset_dir: Path  # holds index.jsonl.gz and shards/, see core.dataset_index
    cache_dir: Path  # decoded pixels, shared by all jobs of the host
    cache_max_bytes: int | None = None  # None is no bound
    output_dir: Path  # checkpoints and the artifact are written below it
    resume_dir: Path | None = None  # a checkpoint's directory
    checkpoint_interval_seconds: float = 60.0
    lineage: Lineage | None = None  # None when run by hand


AnyTask = Annotated[TrainerJob | ProbeJob, Field(discriminator="type")]
TASK: TypeAdapter[AnyTask] = TypeAdapter(AnyTask)


class Progress(_Message):
    type: Literal["progress"] = "progress"
    stage: Literal["preparing", "training", "evaluating"]
    step: int
    total_steps: int
    epoch: int
    total_epochs: int
    images_per_second: float | None = None
    eta_seconds: float | None = None


class Metrics(_Message):
    """Values at one step; names as in `GET /jobs/{id}`: train_loss, val_loss, val_accuracy, loss_ce …"""

    type: Literal["metrics"] = "metrics"
    step: int
    epoch: int
    values: dict[str, float]


class CheckpointSaved(_Message):
    """A complete checkpoint stands in `directory`; the worker may delete it once it is stored."""

    type: Literal["checkpoint_saved"] = "checkpoint_saved"
    step: int
    epoch: int
    directory: Path
    files: list[str]
    metrics: dict[str, float]
    is_best: bool


class Note(_Message):
    """Something a user should know; becomes an event of the run."""

    type: Literal["note"] = "note"
    level: Literal["info", "warning"]
    code: str
    message: str
    details: dict[str, Any] = {}  # JSON values; the shape depends on the code


class Speed(_Message):
    """How fast training goes, the mean over all contenders."""

    seconds_per_step: float
    seconds_per_picture: float  # of validation, with every encoder that is validated
    seconds_beside: float  # building, checkpoints, the last evaluation
    device: str  # its name


class Measured(_Message):
    """What a probe was for."""

    type: Literal["measured"] = "measured"
    speed: Speed


class Finished(_Message):
    """The artifact stands in `directory`: weights.safetensors and model.json."""

    type: Literal["finished"] = "finished"
    directory: Path
    metrics: dict[str, float]
    speed: Speed | None  # None when nothing was left to train
    seconds: float  # without the pictures' decoding


class Failed(_Message):
    """Why the process is about to leave with a code that is neither OK nor INTERRUPTED."""

    type: Literal["error"] = "error"
    code: str
    message: str
    hint: str = ""


Line = Annotated[
    Progress | Metrics | CheckpointSaved | Note | Measured | Finished | Failed,
    Field(discriminator="type"),
]
LINE: TypeAdapter[Line] = TypeAdapter(Line)


def encode_line(line: Line) -> bytes:
    return line.model_dump_json().encode() + b"\n"


def decode_line(raw: bytes) -> Line:
    return LINE.validate_json(raw)
