"""Gets everything that an attempt needs onto this host: the spec resolved, dataset, weights, checkpoint."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import structlog

from core import job_records, jobs
from core.backbones import get_backbone
from core.checkpoints import download_checkpoint
from core.dataset_index import INDEX_FILE, SHARDS_DIR, read_index
from core.datasets import ClassCounts, StoredFile
from core.db.tables import Backbone, Checkpoint, Dataset, Job
from core.disk import require_space
from core.ingest.facts import gather_facts
from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.runs.types import Claim
from core.specs import BackboneDescription, ResolvedSpec, TrainingSpec
from core.speeds import JobSize, find_estimate
from core.storage_errors import ObjectCorruptError, ObjectMissingError
from core.storage_keys import backbone_key, checkpoint_prefix, dataset_attempt_prefix
from core.trainer_protocol import Lineage, TrainerJob
from worker.context import WorkerContext
from worker.patience import GivenUpError

log = structlog.get_logger()

CHECKPOINTS_ON_DISK = 4  # one is written while two are on their way, and one may be resumed from
STATE_FACTOR = 5  # of the backbone's size: both encoders, momentum, the best of both


class PreparedJob(NamedTuple):
    """A job whose inputs are on this host."""

    job: Job
    trainer_job: TrainerJob
    size: JobSize


class _Rows(NamedTuple):
    job: Job
    dataset: Dataset
    backbone: Backbone
    checkpoints: list[Checkpoint]


def prepare_job(
    context: WorkerContext, held: Claim, work_dir: Path, *, device: str, give_up: Callable[[], bool]
) -> PreparedJob:
    """Downloads what is not here yet; raises InvalidInputError when the spec cannot be run, OSError without space.

    Who is left behind fills no folder that is gone: `give_up` is asked before the checkpoint is fetched.
    """
    rows = _load_rows(context, held)
    require_space(work_dir, _estimate_bytes(context, rows))
    dataset_dir = fetch_dataset(context, rows.dataset)
    weights_path = fetch_weights(context, rows.backbone)
    facts = _gather_facts(rows, dataset_dir)
    spec = job_records.read_resolved_spec(rows.job) or _resolve(context, held, rows, facts)
    if give_up():
        raise GivenUpError
    checkpoint = _fetch_checkpoint(context, rows, work_dir / "resume")
    if checkpoint is not None:
        with context.transaction() as session:
            job_records.record_resume(session, held, checkpoint.step)
    trainer_job = TrainerJob(
        spec=spec,
        classes=[counts.name for counts in _read_classes(rows.dataset)],
        backbone=BackboneDescription.model_validate(rows.backbone.description),
        weights_path=weights_path,
        dataset_dir=dataset_dir,
        cache_dir=context.settings.cache_dir.absolute() / "pixels",
        cache_max_bytes=context.settings.pixel_cache_bytes,
        output_dir=work_dir / "output",
        resume_dir=None if checkpoint is None else work_dir / "resume",
        checkpoint_interval_seconds=context.settings.checkpoint_interval_seconds,
        device=device,
        gpu_memory_share=context.settings.training_gpu_memory_share,
        lineage=_describe_lineage(held, rows),
    )
    return PreparedJob(rows.job, trainer_job, JobSize(spec, facts))


def fetch_dataset(context: WorkerContext, dataset: Dataset) -> Path:
    """The dataset's files on this host, shared by all jobs; those that are here already are not fetched again."""
    directory = _find_dataset_dir(context, dataset)
    prefix = dataset_attempt_prefix(dataset.id, dataset.attempt or 0)
    for file in _list_needed(dataset):
        path = directory / file.name
        if not path.exists():
            context.storage.download_file(prefix + file.name, path, sha256=file.sha256)
    return directory


def _find_dataset_dir(context: WorkerContext, dataset: Dataset) -> Path:
    return context.settings.cache_dir.absolute() / "datasets" / dataset.id / str(dataset.attempt or 0)


def _load_rows(context: WorkerContext, held: Claim) -> _Rows:
    with context.transaction() as session:
        job, dataset = job_records.get_job_of_run(session, held.run_id)
        pinned = (job.resolved_spec or job.spec).get("backbone_sha256")
        backbone = get_backbone(session, job.spec["backbone"], pinned)
        return _Rows(job, dataset, backbone, jobs.list_checkpoints(session, job.id))


def fetch_weights(context: WorkerContext, backbone: Backbone) -> Path:
    path = context.settings.cache_dir.absolute() / "backbones" / f"{backbone.sha256}.safetensors"
    if not path.exists():
        context.storage.download_file(backbone_key(backbone.name, backbone.sha256), path, sha256=backbone.sha256)
    return path


def _estimate_bytes(context: WorkerContext, rows: _Rows) -> int:
    """What the attempt will write; decoded pictures have a bound of their own, and are not counted."""
    directory = _find_dataset_dir(context, rows.dataset)
    missing = sum(file.size_bytes for file in _list_needed(rows.dataset) if not (directory / file.name).exists())
    return missing + rows.backbone.size_bytes * STATE_FACTOR * CHECKPOINTS_ON_DISK


def _list_needed(dataset: Dataset) -> list[StoredFile]:
    """Reports and thumbnails are for people."""
    files = [StoredFile.model_validate(item) for item in dataset.files or []]
    return [file for file in files if file.name == INDEX_FILE or file.name.startswith(f"{SHARDS_DIR}/")]


def _gather_facts(rows: _Rows, dataset_dir: Path) -> DatasetFacts:
    classes = [counts.name for counts in _read_classes(rows.dataset)]
    return gather_facts(read_index(dataset_dir / INDEX_FILE), classes, TrainingSpec.model_validate(rows.job.spec))


def _resolve(context: WorkerContext, held: Claim, rows: _Rows, facts: DatasetFacts) -> ResolvedSpec:
    """Once, at the first attempt that gets so far; stored, and used by every later one."""
    description = BackboneDescription.model_validate(rows.backbone.description)
    backbone = BackboneFacts(sha256=rows.backbone.sha256, image_size=description.image_size)
    resolved = resolve(TrainingSpec.model_validate(rows.job.spec), facts, backbone)
    with context.transaction() as session:
        estimate = find_estimate(session, JobSize(resolved, facts))
        job_records.record_resolved_spec(session, held, rows.job, resolved, estimate)
    return resolved


def _fetch_checkpoint(context: WorkerContext, rows: _Rows, directory: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; a damaged one is passed over for the one before."""
    for checkpoint in rows.checkpoints:
        prefix = checkpoint_prefix(rows.job.id, checkpoint.attempt, checkpoint.step)
        try:
            download_checkpoint(context.storage, prefix, directory, sha256=checkpoint.manifest_sha256)
        except (ObjectCorruptError, ObjectMissingError) as exc:
            log.error("checkpoint_unusable", checkpoint_id=checkpoint.id, error=exc.message)
            continue
        return checkpoint
    return None


def _read_classes(dataset: Dataset) -> list[ClassCounts]:
    return [ClassCounts.model_validate(item) for item in dataset.classes or []]


def _describe_lineage(held: Claim, rows: _Rows) -> Lineage:
    return Lineage(
        job_id=rows.job.id,
        dataset_id=rows.dataset.id,
        dataset_sha256=rows.dataset.sha256 or "",
        attempt=held.attempt,
        code_version=version("bitune"),
    )
