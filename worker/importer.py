"""The life of one import run: bytes onto this host and into the store, checked in a limited child, and what it made."""

from collections.abc import Callable
from pathlib import Path

from sqlalchemy.orm import Session

from core import datasets
from core.datasets import ClassCounts, ImportedDataset, StoredFile
from core.db.tables import Dataset, Upload
from core.ingest.child import IngestJob, IngestResult, run_ingest
from core.ingest.errors import FetchInterruptedError, ImportRejectedError, IngestCrashedError, IngestStoppedError
from core.ingest.limits import IngestLimits
from core.ingest.sources import open_source
from core.quotas import Quotas
from core.runs.types import Claim, FailureClass, StatusReason
from core.storage import StoredObject
from core.storage_errors import ObjectCorruptError
from core.storage_keys import dataset_attempt_prefix, fetched_key
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat
from worker.import_progress import ProgressReporter
from worker.outcomes import AttemptFailedError


def run_import(context: WorkerContext, held: Claim, beat: Heartbeat, work_dir: Path) -> None:
    """Runs one attempt until the dataset is ready; every other end is raised for the caller to settle."""
    with context.transaction() as session:
        dataset, upload = datasets.get_dataset_of_run(session, held.run_id)
        source_url = datasets.find_source_url(session, held.run_id)
    _Import(context, held, beat, work_dir, dataset, upload, source_url).run()


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
        source_url: str | None,
    ) -> None:
        self._context = context
        self._held = held
        self._beat = beat
        self._ending = Ending(context, beat)
        self._work_dir = work_dir
        self._dataset = dataset
        self._upload = upload
        self._source_url = source_url
        self._progress = ProgressReporter(beat.report, fetches=upload.completed_at is None)

    def run(self) -> None:
        """An import leaves nothing behind to go on from, so a stop ends it at once.

        What went wrong while it was asked for is not believed: whoever stops the worker may have hit the child.
        """
        try:
            self._run()
        except (IngestStoppedError, IngestCrashedError, ImportRejectedError):
            self._stop_if_asked()
            raise

    def _run(self) -> None:
        archive = self._work_dir / "archive"
        if self._upload.completed_at is None:
            self._fetch(self._source_url or "", archive)
        else:
            self._copy(archive)
        self._stop_if_asked()
        result = self._open(archive)
        self._stop_if_asked()
        self._finish(result)

    def _copy(self, archive: Path) -> None:
        """Of an upload in parts nobody has read the bytes before: it is judged by what its client promised."""
        size_bytes, sha256 = self._upload.size_bytes, self._upload.sha256
        copied = self._ending.prepare(
            lambda: self._context.storage.copy_file(
                self._upload.storage_key, archive, on_bytes=lambda done: self._progress.copy(done, size_bytes)
            )
        )
        if copied.size_bytes != size_bytes or sha256 not in {None, copied.sha256}:
            raise ObjectCorruptError("object_corrupt", "the archive is not what was stored")
        if sha256 is None:
            self._check_promise(copied)
            self._record(lambda session: datasets.record_archive(session, self._held, copied))

    def _check_promise(self, copied: StoredObject) -> None:
        expected = self._upload.expected_sha256
        if expected is not None and copied.sha256 != expected:
            raise ImportRejectedError(
                "upload_sha256_mismatch",
                f"the upload was announced with the SHA-256 {expected}, and has {copied.sha256}",
                hint="upload the file again",
            )

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

    def _fetch(self, url: str, archive: Path) -> None:
        """Onto this host first: while the store is away, what the URL gave is not asked for again.

        Then into the store, where a later attempt finds it.
        """
        self._spool(url, archive)
        size_bytes = archive.stat().st_size
        storage, key = self._context.storage, fetched_key(self._upload.id, self._held.attempt)
        self._progress.copy(0, size_bytes)
        stored = self._ending.prepare(lambda: storage.put_file(key, archive))
        self._progress.copy(size_bytes, size_bytes)
        quotas = Quotas.from_settings(self._context.settings)
        self._record(lambda session: datasets.record_fetched(session, self._held, key, stored, quotas))

    def _record(self, write: Callable[[Session], object]) -> None:
        def record() -> None:
            with self._context.transaction() as session:
                write(session)

        self._ending.prepare(record)

    def _spool(self, url: str, archive: Path) -> None:
        """What a bucket holds is asked for again while the store is away."""
        try:
            self._ending.prepare(lambda: self._download(url, archive))
        except FetchInterruptedError as exc:
            raise _describe_interruption(exc) from exc

    def _download(self, url: str, archive: Path) -> None:
        source = open_source(url, self._context.settings, self._context.storage, self._ending.is_asked)
        done = 0
        with archive.open("wb") as file:
            for chunk in source.chunks:
                done += file.write(chunk)
                self._progress.fetch(done, source.size_bytes)

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


def _describe_interruption(error: FetchInterruptedError) -> AttemptFailedError:
    """It may be our network or theirs; after a few tries it is for the user to see to."""
    reason = StatusReason(code=error.code, message=error.message, hint=error.hint, owner="user", retryable=True)
    return AttemptFailedError(FailureClass.FETCH, reason)
