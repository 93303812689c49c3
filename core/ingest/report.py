"""What an import says about the dataset: `report.json`, `findings.jsonl`, and a summary on the dataset's row."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.ingest.archives import ArchiveKind
from core.ingest.findings import HINTS, FindingCode, FindingLog, Severity, get_severity
from core.ingest.layout import Recognised

REPORT_FILE = "report.json"
FINDINGS_FILE = "findings.jsonl"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassCounts(_Frozen):
    """One class and its samples by split."""

    name: str
    train: int
    val: int
    test: int


class ReportSummary(_Frozen):
    archive: ArchiveKind | None = None  # None in what was imported before it was said
    layout: str  # in words
    recognised: Recognised | None = None  # likewise
    num_samples: int
    num_left_out: int  # files that did not become samples; each has a finding
    num_ignored: int  # hidden and system files
    num_findings: dict[FindingCode, int]


class ReportSection(_Frozen):
    """All findings of one code: lines of `findings.jsonl` [start : end], the first `num_listed` of `count`."""

    code: FindingCode
    severity: Severity
    hint: str
    count: int
    num_listed: int
    start: int
    end: int


class DatasetReport(_Frozen):
    summary: ReportSummary
    classes: list[ClassCounts]  # in the frozen order
    sections: list[ReportSection]  # without gaps


def write_findings(path: Path, log: FindingLog) -> list[ReportSection]:
    sections = []
    with path.open("wb") as file:
        for code, count, lines in log.list_by_code():
            start = file.tell()
            file.writelines(lines)
            sections.append(
                ReportSection(
                    code=code,
                    severity=get_severity(code),
                    hint=HINTS[code],
                    count=count,
                    num_listed=len(lines),
                    start=start,
                    end=file.tell(),
                )
            )
    return sections
