"""Runs imports in this process."""

from pathlib import Path

import pytest

from core.dataset_index import INDEX_FILE, IndexEntry, read_index
from core.ingest.errors import ImportRejectedError
from core.ingest.ingest import ingest
from core.ingest.limits import IngestLimits
from core.ingest.protocol import IngestJob, IngestProgress, Packed
from core.ingest.report import DatasetReport
from tests.core.ingest.reading import read_findings
from tests.pictures import Member, write_zip

LIMITS = IngestLimits()


class Ingested:
    """What an import wrote."""

    def __init__(self, archive: Path, limits: IngestLimits = LIMITS, test_fraction: float = 0.2) -> None:
        self.out_dir = archive.parent / f"{archive.name}-out"
        self.progress: list[IngestProgress] = []
        job = IngestJob(archive=archive, limits=limits, test_fraction=test_fraction)
        self.packed: Packed = ingest(job, self.out_dir, self.progress.append)
        self.entries: list[IndexEntry] = read_index(self.out_dir / INDEX_FILE)
        self.report = DatasetReport.model_validate_json((self.out_dir / "report.json").read_text())
        self.findings = read_findings(self.out_dir)

    def read_sample(self, entry: IndexEntry) -> bytes:
        content = (self.out_dir / "shards" / entry.shard).read_bytes()
        return content[entry.offset : entry.offset + entry.size_bytes]

    def counts(self) -> dict[str, tuple[int, int, int]]:
        return {item.name: (item.train, item.val, item.test) for item in self.packed.classes}


def refuse_members(tmp_path: Path, members: list[Member], limits: IngestLimits = LIMITS) -> str:
    """Returns the code of the refusal."""
    with pytest.raises(ImportRejectedError) as error:
        Ingested(write_zip(tmp_path / "archive", members), limits)
    return error.value.code
