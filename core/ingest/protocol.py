"""What the importer and its child process say to each other: a job file, JSON lines, a result file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from core.ingest.limits import IngestLimits
from core.ingest.report import ClassCounts, ReportSummary

JOB_FILE = "ingest.json"
RESULT_FILE = "result.json"
OUT_DIR = "out"
EXIT_OUT_OF_MEMORY = 4
EXIT_NO_SPACE = 5


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class IngestJob(_Message):
    """`ingest.json`: the child reads the archive and writes below its own work directory, nothing else."""

    archive: Path
    limits: IngestLimits
    test_fraction: float = Field(ge=0, lt=1)


class IngestProgress(_Message):
    type: Literal["progress"] = "progress"
    stage: Literal["reading", "checking"]
    done: int  # files while reading, pictures while checking
    total: int | None = None
    bytes_read: int = 0  # unpacked, in this stage


class Packed(_Message):
    """The dataset stands in `out/`."""

    type: Literal["packed"] = "packed"
    num_samples: int
    classes: list[ClassCounts]
    size_bytes: int  # of the samples
    num_shards: int
    num_thumbnail_shards: int
    report_summary: ReportSummary


class Rejected(_Message):
    type: Literal["rejected"] = "rejected"
    code: str
    message: str
    hint: str


Outcome = Annotated[Packed | Rejected, Field(discriminator="type")]
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)
