"""The group `archives`: what honest tools make, and what no import may take."""

from collections.abc import Iterator, Sequence

from core.dataset_index import Split
from core.ingest.limits import IngestLimits
from tests.abuse.archive_cases import ArchiveCase
from tests.abuse.dataset_cases import list_dataset_cases
from tests.abuse.imports import LIMITS, Opened, map_side_by_side, open_archive
from tests.abuse.tar_cases import list_tar_cases
from tests.abuse.verdict import Verdict
from tests.abuse.zip_cases import list_zip_cases

SPLITS: tuple[Split, ...] = ("train", "val", "test")


def list_cases(seed: int) -> list[ArchiveCase]:
    return [*list_zip_cases(seed), *list_tar_cases(seed), *list_dataset_cases(seed)]


def run(
    *, seed: int = 0, limits: IngestLimits = LIMITS, cases: Sequence[ArchiveCase] | None = None
) -> Iterator[Verdict]:
    """`limits` apply where a case has none of its own."""

    def judge(case: ArchiveCase) -> Verdict:
        opened = open_archive(case.make(), case.limits or limits)
        return Verdict(
            group="archives",
            name=case.name,
            expected=case.expected,
            got=opened.got,
            code=opened.code or _describe(opened),
            seconds=opened.seconds,
            rss_mb=opened.rss_mb,
            expected_code=case.code,
        )

    yield from map_side_by_side(judge, list(list_cases(seed) if cases is None else cases))


def _describe(opened: Opened) -> str:
    """The dataset in a few words: its classes and samples, and the splits that it has."""
    if opened.result is None:
        return ""
    splits = {entry.split for entry in opened.entries}
    names = "+".join(split for split in SPLITS if split in splits)
    return f"{len(opened.result.classes)} classes, {len(opened.entries)} samples, {names}"
