"""Turns an archive into a dataset: survey, pack, check, split, write."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from core.dataset_index import INDEX_FILE, IndexEntry, write_index
from core.ingest.archives import detect_archive, read_members
from core.ingest.checks import check_samples
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import FindingCode, FindingLog
from core.ingest.limits import IngestLimits
from core.ingest.members import Member
from core.ingest.pack import Packer
from core.ingest.protocol import IngestJob, IngestProgress, Packed
from core.ingest.report import REPORT_FILE, ClassCounts, DatasetReport, ReportSummary
from core.ingest.shards import ShardWriter
from core.ingest.splits import assign_splits
from core.ingest.survey import Survey, survey

KEPT = frozenset(  # findings about samples; all others are about what is left out
    {
        FindingCode.IMAGE_TINY,
        FindingCode.DUPLICATE_IMAGES,
        FindingCode.DUPLICATE_ACROSS_SPLITS,
        FindingCode.CONFLICTING_LABELS,
        FindingCode.CLASS_IMBALANCE,
    }
)


def ingest(job: IngestJob, out_dir: Path, on_progress: Callable[[IngestProgress], None]) -> Packed:
    """Reads the archive twice, with one picture in memory at a time. Raises ImportRejectedError."""
    on_progress(IngestProgress(stage="reading", done=0))
    found = survey(_tell(read_members(job.archive, job.limits), on_progress), job.limits)
    _check_class_count(found, job.limits)
    log = FindingLog()
    with ShardWriter(out_dir, job.limits.shard_bytes) as shards:
        packer = Packer(found.layout, job.limits.image, shards, log)
        counter = _Counter(found.num_pictures, on_progress)
        entries = list(packer.pack(counter.weigh(read_members(job.archive, job.limits)), counter.count))
    entries.sort(key=lambda entry: entry.path)
    check_samples(entries, found.layout.classes, log, min_images_per_class=job.limits.min_images_per_class)
    entries = assign_splits(entries, test_fraction=job.test_fraction)
    report = _make_report(job, found, entries, log)
    write_index(out_dir / INDEX_FILE, entries)
    (out_dir / REPORT_FILE).write_text(report.model_dump_json())
    return Packed(
        num_samples=len(entries),
        classes=report.classes,
        size_bytes=sum(entry.size_bytes for entry in entries),
        num_shards=shards.num_shards,
        report_summary=report.summary,
    )


def _tell(members: Iterable[Member], on_progress: Callable[[IngestProgress], None]) -> Iterator[Member]:
    """Tells how many files are read."""
    bytes_read = 0
    for done, member in enumerate(members):
        on_progress(IngestProgress(stage="reading", done=done, bytes_read=bytes_read))
        bytes_read += len(member.content)
        yield member


class _Counter:
    """Tells how many pictures are done."""

    def __init__(self, total: int, on_progress: Callable[[IngestProgress], None]) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._bytes_read = 0

    def weigh(self, members: Iterable[Member]) -> Iterator[Member]:
        for member in members:
            self._bytes_read += len(member.content)
            yield member

    def count(self) -> None:
        self._on_progress(
            IngestProgress(stage="checking", done=self._done, total=self._total, bytes_read=self._bytes_read)
        )
        self._done += 1


def _check_class_count(found: Survey, limits: IngestLimits) -> None:
    if len(found.layout.classes) > limits.max_classes:
        raise ImportRejectedError(
            "too_many_classes", f"{len(found.layout.classes)} classes, at most {limits.max_classes} are allowed"
        )


def _make_report(job: IngestJob, found: Survey, entries: list[IndexEntry], log: FindingLog) -> DatasetReport:
    counts = Counter((entry.label, entry.split) for entry in entries)
    return DatasetReport(
        summary=ReportSummary(
            archive=detect_archive(job.archive),
            layout=found.layout.describe(),
            recognised=found.layout.recognised(),
            num_samples=len(entries),
            num_left_out=sum(count for code, count in log.counts.items() if code not in KEPT),
            num_ignored=found.num_ignored,
            num_findings=dict(log.counts),
        ),
        classes=[
            ClassCounts(name=name, train=counts[label, "train"], val=counts[label, "val"], test=counts[label, "test"])
            for label, name in enumerate(found.layout.classes)
        ],
        findings=log.kept,
    )
