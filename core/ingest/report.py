"""What an import says about the dataset: `report.json`, and its summary on the dataset's row."""

from pydantic import BaseModel, ConfigDict

from core.ingest.archives import ArchiveKind
from core.ingest.findings import Finding, FindingCode
from core.ingest.layout import Recognised

REPORT_FILE = "report.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassCounts(_Frozen):
    """One class and its samples by split."""

    name: str
    train: int
    val: int
    test: int


class ReportSummary(_Frozen):
    archive: ArchiveKind
    layout: str  # in words
    recognised: Recognised
    num_samples: int
    num_left_out: int  # files that did not become samples; each has a finding
    num_ignored: int  # hidden and system files
    num_findings: dict[FindingCode, int]


class DatasetReport(_Frozen):
    summary: ReportSummary
    classes: list[ClassCounts]  # in the frozen order
    findings: list[Finding]  # the first 200 of each code; the summary counts all
