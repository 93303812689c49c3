"""Reads the report of an import, a page of its findings at a time."""

from typing import NamedTuple

from pydantic import ValidationError

from core.dataset_files import DatasetFiles
from core.db.tables import Dataset
from core.errors import InvalidInputError
from core.ingest.findings import Finding, FindingCode
from core.ingest.report import FINDINGS_FILE, REPORT_FILE, DatasetReport
from core.storage import Storage
from core.storage_errors import ObjectCorruptError

ID_DIGITS = 12
MAX_LINE_BYTES = 8192  # see core.ingest.findings for what bounds a finding


class ListedFinding(NamedTuple):
    """`id` is where its line begins, so that a page needs one read, wherever it begins."""

    id: str
    finding: Finding


class ReportPage(NamedTuple):
    report: DatasetReport
    findings: list[ListedFinding]
    has_more: bool


def read_report(
    storage: Storage, dataset: Dataset, *, code: FindingCode | None, after: str | None, limit: int
) -> ReportPage:
    files = DatasetFiles(storage, dataset)
    files.require(FINDINGS_FILE)  # an older report is of another form
    report = _parse_report(files.read(REPORT_FILE))
    start, end = _find_section(report, code)
    last = -1 if after is None else _parse_id(after)
    found = _read_lines(files, max(start, last), end, skip_first=last >= start, limit=limit + 1)
    return ReportPage(report, found[:limit], has_more=len(found) > limit)


def _parse_report(content: bytes) -> DatasetReport:
    try:
        return DatasetReport.model_validate_json(content)
    except ValidationError as exc:
        raise ObjectCorruptError("object_corrupt", "the report cannot be read") from exc


def _find_section(report: DatasetReport, code: FindingCode | None) -> tuple[int, int]:
    """Where the findings of this code stand, or all of them."""
    found = [section for section in report.sections if code in {None, section.code}]
    return (found[0].start, found[-1].end) if found else (0, 0)


def _parse_id(text: str) -> int:
    if len(text) != ID_DIGITS or not (text.isascii() and text.isdecimal()):
        raise _unknown(text)
    return int(text)


def _read_lines(files: DatasetFiles, start: int, end: int, *, skip_first: bool, limit: int) -> list[ListedFinding]:
    wanted = limit + skip_first
    content = files.read_range(FINDINGS_FILE, start, min(end - start, wanted * MAX_LINE_BYTES))
    lines = content.split(b"\n")[:-1][:wanted]
    found = []
    for line in lines:
        found.append(ListedFinding(f"{start:0{ID_DIGITS}}", _parse_finding(line, start)))
        start += len(line) + 1
    return found[1:] if skip_first else found


def _parse_finding(line: bytes, start: int) -> Finding:
    try:
        return Finding.model_validate_json(line)
    except ValidationError as exc:
        raise _unknown(f"{start:0{ID_DIGITS}}") from exc


def _unknown(finding_id: str) -> InvalidInputError:
    return InvalidInputError("unknown_finding", f"there is no finding '{finding_id}'", param="after")
