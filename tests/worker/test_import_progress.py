import pytest
from pydantic import BaseModel

from core.ingest.progress import ImportProgress
from core.ingest.protocol import IngestProgress
from worker.import_progress import ProgressReporter

MEBIBYTE = 1024**2


class Listener:
    def __init__(self) -> None:
        self.heard: list[ImportProgress] = []

    def report(self, progress: BaseModel) -> None:
        assert isinstance(progress, ImportProgress)
        self.heard.append(progress)


def tell_all(reporter: ProgressReporter) -> None:
    for done in (0, MEBIBYTE, 2 * MEBIBYTE):
        reporter.copy(done, 2 * MEBIBYTE)
    for done in (0, 1, 2):
        reporter.follow(IngestProgress(stage="reading", done=done, bytes_read=done * MEBIBYTE))
    for done in (0, 1):
        reporter.follow(IngestProgress(stage="checking", done=done, total=2, bytes_read=done * MEBIBYTE))
    for done in (0, 2 * MEBIBYTE):
        reporter.store(done, 2 * MEBIBYTE)


@pytest.mark.parametrize("fetches", [True, False])
def test_percent_goes_from_0_to_100(fetches: bool) -> None:
    listener = Listener()
    reporter = ProgressReporter(listener.report, fetches=fetches)
    if fetches:
        reporter.fetch(0, 2 * MEBIBYTE)
        reporter.fetch(2 * MEBIBYTE, 2 * MEBIBYTE)
    tell_all(reporter)

    percents = [progress.percent for progress in listener.heard]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (0, 100)


def test_what_is_not_known_counts_as_nothing_done() -> None:
    listener = Listener()

    ProgressReporter(listener.report, fetches=True).fetch(5, None)

    assert listener.heard == [ImportProgress(stage="fetching", percent=0, bytes_done=5)]


def test_reading_tells_members_and_bytes() -> None:
    listener = Listener()
    reporter = ProgressReporter(listener.report, fetches=False)
    reporter.copy(100, 100)

    reporter.follow(IngestProgress(stage="reading", done=3, bytes_read=50))

    assert listener.heard[-1] == ImportProgress(stage="reading", percent=18.8, bytes_done=50, members_done=3)
