"""Datasets as a finished import leaves them, in the database and in the store."""

from pathlib import Path

from core import datasets
from core.datasets import ClassCounts, ImportedDataset, StoredFile
from core.db.session import SessionFactory
from core.ingest.child import IngestJob, IngestResult, run_ingest
from core.ingest.limits import IngestLimits
from core.keys import ensure_project
from core.storage import Storage
from core.storage_keys import dataset_attempt_prefix
from tests.factories import claim_run, make_dataset
from tests.pictures import Member, write_zip


def import_archive(folder: Path, members: list[Member]) -> IngestResult:
    """Through the real import process."""
    archive = write_zip(folder / "archive.zip", members)
    job = IngestJob(archive=archive, limits=IngestLimits(decoders=1), test_fraction=0.2)
    return run_ingest(job, folder, should_stop=lambda: False, on_progress=lambda _: None)


def store_dataset(sessions: SessionFactory, storage: Storage, result: IngestResult) -> str:
    """As the importer does, for the default project; returns the dataset's id."""
    with sessions.begin() as session:
        dataset = make_dataset(session, project_id=ensure_project(session), ready=False)
        held = claim_run(session, queue="imports")
        prefix = dataset_attempt_prefix(dataset.id, held.attempt)
        files = [
            StoredFile(name=name, **storage.put_file(prefix + name, path).model_dump())
            for name, path in result.files.items()
        ]
        imported = ImportedDataset(
            num_samples=result.num_samples,
            classes=[ClassCounts.model_validate(counts.model_dump()) for counts in result.classes],
            report=result.report_summary.model_dump(mode="json"),
            files=files,
        )
        datasets.finish_import(session, held, imported)
        return dataset.id
