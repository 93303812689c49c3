"""The life of one import run: bytes into the store, checked and packed in a limited child, results into the store."""

from pathlib import Path

from core import datasets
from core.datasets import ClassCounts, ImportedDataset, StoredFile
from core.db.tables import Dataset, Upload
from core.ingest.child import IngestJob, IngestResult, run_ingest
from core.ingest.errors import ImportRejectedError, IngestStoppedError
from core.ingest.limits import IngestLimits
from core.ingest.sources import open_source
from core.runs.types import Claim
from core.storage import StoredObject
from core.storage_errors import ObjectCorruptError
from core.storage_keys import dataset_attempt_prefix
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat
from worker.import_progress import ProgressReporter


def run_import(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path) -> None:
    """Runs one attempt until the dataset is ready; every other end is raised for the caller to settle."""
    with context.transaction() as session:
        dataset, upload = datasets.get_dataset_of_run(session, held.run_id)
    _Import(context, held, beat, work_dir, dataset, upload).run()


class _Import:
    """One attempt: fetch if the bytes are not in the store yet, open them in the child, store what it made."""

    def __init__(
        self,
        context: WorkerContext,
        held: Claim,
        beat: Heartbeat,
        work_dir: Path,
        dataset: Dataset,
        upload: Upload,
    ) -> None:
        self._context = context
        self._held = held
        self._beat = beat
        self._ending = Ending(context, beat)
        self._work_dir = work_dir
        self._dataset = dataset
        self._upload = upload
        self._progress = ProgressReporter(beat.report, fetches=upload.completed_at is None)

    def run(self) -> None:
        """An import leaves nothing behind to go on from, so a stop ends it at once."""
        try:
            self._run()
        except IngestStoppedError:
            self._stop_if_asked()
            raise

    def _run(self) -> None:
        stored = self._uploaded() if self._upload.completed_at else self._fetch(self._dataset.source_url or "")
        self._stop_if_asked()
        archive = self._work_dir / "archive"
        self._copy(archive, stored)
        result = self._open(archive)
        self._stop_if_asked()
        self._finish(result)

    def _copy(self, archive: Path, stored: StoredObject | None) -> None:
        """Of an upload in parts nobody has read the bytes before: it is judged by what its client promised."""
        size_bytes = self._upload.size_bytes if stored is None else stored.size_bytes
        copied = self._ending.prepare(
            lambda: self._context.storage.copy_file(
                self._upload.storage_key, archive, on_bytes=lambda done: self._progress.copy(done, size_bytes)
            )
        )
        if copied.size_bytes != size_bytes or (stored is not None and copied != stored):
            raise ObjectCorruptError("object_corrupt", "the archive is not what was stored")
        if stored is None:
            self._check_promise(copied)
            self._record(copied)

    def _check_promise(self, copied: StoredObject) -> None:
        expected = self._upload.expected_sha256
        if expected is not None and copied.sha256 != expected:
            raise ImportRejectedError(
                "upload_sha256_mismatch",
                f"the upload was announced with the SHA-256 {expected}, and has {copied.sha256}",
                hint="upload the file again",
            )

    def _record(self, stored: StoredObject) -> None:
        with self._context.transaction() as session:
            datasets.record_archive(session, self._held, stored)

    def _open(self, archive: Path) -> IngestResult:
        return run_ingest(
            IngestJob(
                archive=archive,
                limits=IngestLimits.from_settings(self._context.settings),
                test_fraction=self._dataset.test_fraction,
            ),
            self._work_dir,
            should_stop=self._ending.is_asked,
            on_progress=self._progress.follow,
        )

    def _uploaded(self) -> StoredObject | None:
        if self._upload.size_bytes is None or self._upload.sha256 is None:
            return None
        return StoredObject(size_bytes=self._upload.size_bytes, sha256=self._upload.sha256)

    def _fetch(self, url: str) -> StoredObject:
        """Straight into the store, so that a later attempt need not ask the URL again."""
        context = self._context
        source = open_source(url, context.settings, context.storage, self._ending.is_asked)
        with context.storage.open_upload(self._upload.storage_key) as upload:
            for chunk in source.chunks:
                upload.write(chunk)
                self._progress.fetch(upload.size_bytes, source.size_bytes)
        self._record(upload.stored)
        return upload.stored

    def _finish(self, result: IngestResult) -> None:
        prefix = dataset_attempt_prefix(self._dataset.id, self._held.attempt)
        files = self._store_all(prefix, result.files)
        imported = ImportedDataset(
            num_samples=result.num_samples,
            classes=[ClassCounts.model_validate(counts.model_dump()) for counts in result.classes],
            report=result.report_summary.model_dump(mode="json"),
            files=files,
        )

        def commit() -> None:
            with self._context.transaction() as session:
                datasets.finish_import(session, self._held, imported)

        self._ending.finish(commit)

    def _store_all(self, prefix: str, paths: dict[str, Path]) -> list[StoredFile]:
        total = sum(path.stat().st_size for path in paths.values())
        files: list[StoredFile] = []
        for name, path in paths.items():
            self._progress.store(sum(file.size_bytes for file in files), total)
            files.append(self._store(prefix, name, path))
        return files

    def _store(self, prefix: str, name: str, path: Path) -> StoredFile:
        stored = self._ending.prepare(lambda: self._context.storage.put_file(prefix + name, path))
        return StoredFile(name=name, **stored.model_dump())

    def _stop_if_asked(self) -> None:
        if self._ending.is_asked():
            raise self._ending.reason
