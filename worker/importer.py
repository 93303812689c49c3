"""The life of one import run: bytes onto this host and into the store, checked in a limited child, and what it made."""

from pathlib import Path

from core import datasets
from core.datasets import ClassCounts, ImportedDataset, StoredFile
from core.db.tables import Dataset, Upload
from core.ingest.child import IngestJob, IngestResult, run_ingest
from core.ingest.errors import FetchInterruptedError, ImportRejectedError, IngestCrashedError, IngestStoppedError
from core.ingest.fetch import fetch
from core.ingest.limits import IngestLimits
from core.ingest.urls import UrlPolicy
from core.quotas import Quotas
from core.runs.types import Claim, FailureClass, StatusReason
from core.storage_keys import dataset_attempt_prefix, fetched_key
from worker.context import WorkerContext
from worker.ending import Ending
from worker.heartbeat import Heartbeat
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
        if self._upload.sha256 is None:
            self._fetch(self._source_url or "", archive)
        else:
            self._download(archive, self._upload.sha256)
        self._stop_if_asked()
        result = self._open(archive)
        self._stop_if_asked()
        self._finish(result)

    def _download(self, archive: Path, sha256: str) -> None:
        storage, key = self._context.storage, self._upload.storage_key
        self._ending.prepare(lambda: storage.download_file(key, archive, sha256=sha256))

    def _open(self, archive: Path) -> IngestResult:
        return run_ingest(
            IngestJob(
                archive=archive,
                limits=IngestLimits.from_settings(self._context.settings),
                test_fraction=self._dataset.test_fraction,
            ),
            self._work_dir,
            should_stop=self._ending.is_asked,
            on_progress=self._beat.report,
        )

    def _fetch(self, url: str, archive: Path) -> None:
        """Onto this host first: while the store is away, what the URL gave is not asked for again.

        Then into the store, where a later attempt finds it.
        """
        self._spool(url, archive)
        storage, key = self._context.storage, fetched_key(self._upload.id, self._held.attempt)
        stored = self._ending.prepare(lambda: storage.put_file(key, archive))
        quotas = Quotas.from_settings(self._context.settings)

        def record() -> None:
            with self._context.transaction() as session:
                datasets.record_fetched(session, self._held, key, stored, quotas)

        self._ending.prepare(record)

    def _spool(self, url: str, archive: Path) -> None:
        settings = self._context.settings
        chunks = fetch(
            url,
            UrlPolicy.from_settings(settings),
            max_bytes=settings.max_upload_bytes,
            should_stop=self._ending.is_asked,
        )
        try:
            with archive.open("wb") as file:
                file.writelines(chunks)
        except FetchInterruptedError as exc:
            raise _describe_interruption(exc) from exc

    def _finish(self, result: IngestResult) -> None:
        prefix = dataset_attempt_prefix(self._dataset.id, self._held.attempt)
        files = [self._store(prefix, name, path) for name, path in result.files.items()]
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
