"""Datasets as a finished import leaves them, in the database and in the store."""

from pathlib import Path

from core import datasets
from core.datasets import ClassCounts, ImportedDataset, StoredFile
from core.db.session import SessionFactory
from core.ingest.child import IngestJob, run_ingest
from core.ingest.limits import IngestLimits
from core.storage import Storage
from core.storage_keys import dataset_attempt_prefix
from tests.factories import claim_run
from tests.pictures import Member, write_zip


def import_dataset(
    sessions: SessionFactory, storage: Storage, folder: Path, members: list[Member], *, project_id: str
) -> str:
    """Through the real import process; returns the dataset's id."""
    archive = write_zip(folder / "archive.zip", members)
    job = IngestJob(archive=archive, limits=IngestLimits(decoders=1), test_fraction=0.2)
    result = run_ingest(job, folder, should_stop=lambda: False, on_progress=lambda _: None)
    with sessions.begin() as session:
        dataset = datasets.create_dataset_from_url(
            session, project_id=project_id, name="made", url="https://a.test/b.zip", test_fraction=0.2, metadata={}
        ).dataset
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
