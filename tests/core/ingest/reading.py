"""Reads archives in tests."""

from pathlib import Path

import pytest

from core.ingest.archives import read_members
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import Finding, FindingLog
from core.ingest.limits import IngestLimits
from core.ingest.report import FINDINGS_FILE
from tests.pictures import Member

GOOD = ("cat/0.png", b"x" * 700)


def read(path: Path, limits: IngestLimits | None = None) -> list[Member]:
    return [("/".join(member.parts), member.content) for member in read_members(path, limits or IngestLimits())]


def refuse(path: Path, limits: IngestLimits | None = None) -> str:
    with pytest.raises(ImportRejectedError) as error:
        read(path, limits)
    return error.value.code


def patch(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def read_findings(out_dir: Path) -> list[Finding]:
    return [Finding.model_validate_json(line) for line in (out_dir / FINDINGS_FILE).read_bytes().splitlines()]


def list_findings(log: FindingLog) -> list[Finding]:
    return [Finding.model_validate_json(line) for listed in log.list_by_code() for line in listed.lines]
