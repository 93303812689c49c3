"""Turns an archive into a dataset: survey, pack, check, split, write."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from core.dataset_index import INDEX_FILE, IndexEntry, write_index
from core.ingest.archives import detect_archive, read_members
from core.ingest.checks import check_samples
from core.ingest.class_checks import check_classes
from core.ingest.decoders import Decoders
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import LEFT_OUT, FindingCode, FindingLog
from core.ingest.limits import IngestLimits
from core.ingest.members import Member
from core.ingest.pack import PackedSample, Packer
from core.ingest.protocol import IngestJob, IngestProgress, Packed
from core.ingest.report import (
    FINDINGS_FILE,
    REPORT_FILE,
    ClassCounts,
    DatasetReport,
    ReportSection,
    ReportSummary,
    write_findings,
)
from core.ingest.resemblance import join_near_duplicates
from core.ingest.shards import ShardPair
from core.ingest.splits import assign_splits
from core.ingest.survey import Survey, survey
from core.sample_table import SAMPLE_FINDINGS, SAMPLES_FILE, Sample, Thumbnail, write_sample_table


def ingest(job: IngestJob, out_dir: Path, on_progress: Callable[[IngestProgress], None]) -> Packed:
    """Reads the archive twice, with a bounded number of pictures in memory at a time. Raises ImportRejectedError."""
    decoders = Decoders(job.limits.decoders, job.limits.image)
    with decoders.running():
        return _ingest(job, out_dir, decoders, on_progress)


def _ingest(job: IngestJob, out_dir: Path, decoders: Decoders, on_progress: Callable[[IngestProgress], None]) -> Packed:
    on_progress(IngestProgress(stage="reading", done=0))
    found = survey(_tell(read_members(job.archive, job.limits), on_progress), job.limits)
    _check_class_count(found, job.limits)
    log = FindingLog()
    with ShardPair(out_dir, job.limits.shard_bytes) as shards:
        packer = Packer(found.layout, decoders, shards, log)
        counter = _Counter(found.num_pictures, on_progress)
        packed = list(packer.pack(counter.weigh(read_members(job.archive, job.limits)), counter.count))
    packed.sort(key=lambda sample: sample.entry.path)
    entries = _check(job, found, packed, log)
    report = _make_report(job, found, entries, log, write_findings(out_dir / FINDINGS_FILE, log))
    write_index(out_dir / INDEX_FILE, entries)
    write_sample_table(out_dir / SAMPLES_FILE, _describe_samples(packed, entries, log))
    (out_dir / REPORT_FILE).write_text(report.model_dump_json())
    return Packed(
        num_samples=len(entries),
        classes=report.classes,
        size_bytes=sum(entry.size_bytes for entry in entries),
        num_shards=shards.pictures.num_shards,
        num_thumbnail_shards=shards.thumbnails.num_shards,
        report_summary=report.summary,
    )


def _tell(members: Iterable[Member], on_progress: Callable[[IngestProgress], None]) -> Iterator[Member]:
    """Tells how many files are read."""
    bytes_read = 0
    for done, member in enumerate(members):
        on_progress(IngestProgress(stage="reading", done=done, bytes_read=bytes_read))
        bytes_read += member.size_bytes
        yield member


def _check(job: IngestJob, found: Survey, packed: list[PackedSample], log: FindingLog) -> list[IndexEntry]:
    """The entries with their final splits and duplicate groups."""
    classes = found.layout.classes
    entries = [sample.entry for sample in packed]
    check_samples(entries, classes, log, min_images_per_class=job.limits.min_images_per_class)
    entries = join_near_duplicates(entries, [sample.signature for sample in packed], log)
    entries = assign_splits(entries, test_fraction=job.test_fraction)
    check_classes(entries, classes, log)
    for name in found.empty_folders:
        log.add(FindingCode.CLASS_EMPTY, name, "it holds no picture, so it is no class")
    return entries


def _describe_samples(packed: list[PackedSample], entries: list[IndexEntry], log: FindingLog) -> Iterator[Sample]:
    for sample, entry in zip(packed, entries, strict=True):
        yield Sample(
            sample_id=entry.sample_id,
            path=entry.path,
            label=entry.label,
            split=entry.split,
            width=entry.width,
            height=entry.height,
            size_bytes=entry.size_bytes,
            findings=tuple(finding for finding in SAMPLE_FINDINGS if finding in log.codes_of.get(entry.sample_id, ())),
            thumbnail=Thumbnail(*sample.thumbnail),
        )


class _Counter:
    """Tells how many pictures are done."""

    def __init__(self, total: int, on_progress: Callable[[IngestProgress], None]) -> None:
        self._total = total
        self._on_progress = on_progress
        self._done = 0
        self._bytes_read = 0

    def weigh(self, members: Iterable[Member]) -> Iterator[Member]:
        for member in members:
            self._bytes_read += member.size_bytes
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


def _make_report(
    job: IngestJob, found: Survey, entries: list[IndexEntry], log: FindingLog, sections: list[ReportSection]
) -> DatasetReport:
    counts = Counter((entry.label, entry.split) for entry in entries)
    return DatasetReport(
        summary=ReportSummary(
            archive=detect_archive(job.archive),
            layout=found.layout.describe(),
            recognised=found.layout.recognised(),
            num_samples=len(entries),
            num_left_out=sum(count for code, count in log.counts.items() if code in LEFT_OUT),
            num_ignored=found.num_ignored,
            num_findings=dict(log.counts),
        ),
        classes=[
            ClassCounts(name=name, train=counts[label, "train"], val=counts[label, "val"], test=counts[label, "test"])
            for label, name in enumerate(found.layout.classes)
        ],
        sections=sections,
    )
