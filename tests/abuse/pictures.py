"""The group `pictures`: each stands in an archive beside good ones, which must become a dataset all the same."""

from collections.abc import Iterator, Sequence
from typing import get_args

from core.images import ImageErrorCode
from core.ingest.limits import IngestLimits
from tests.abuse.archive_cases import make_set
from tests.abuse.bad_pictures import list_bad_pictures
from tests.abuse.forgery import make_zip
from tests.abuse.good_pictures import list_good_pictures
from tests.abuse.imports import LIMITS, Opened, map_side_by_side, open_archive
from tests.abuse.picture_cases import PictureCase
from tests.abuse.verdict import Got, Verdict
from tests.pictures import Member

TWIN = "dog/twin.png"
REASONS = (*get_args(ImageErrorCode), "not_an_image")


def list_cases(seed: int) -> list[PictureCase]:
    return [*list_good_pictures(seed), *list_bad_pictures(seed)]


def run(
    *, seed: int = 0, limits: IngestLimits = LIMITS, cases: Sequence[PictureCase] | None = None
) -> Iterator[Verdict]:
    def judge(case: PictureCase) -> Verdict:
        opened = open_archive(_wrap(case, seed), limits)
        got, code = _judge(case, opened)
        return Verdict(
            group="pictures",
            name=case.name,
            expected=case.expected,
            got=got,
            code=code,
            seconds=opened.seconds,
            rss_mb=opened.rss_mb,
            expected_code=case.code,
        )

    yield from map_side_by_side(judge, list(list_cases(seed) if cases is None else cases))


def _wrap(case: PictureCase, seed: int) -> bytes:
    twin: list[Member] = [] if case.twin is None else [(TWIN, case.twin)]
    return make_zip([*make_set(seed), *twin, (case.path, case.make())])


def _judge(case: PictureCase, opened: Opened) -> tuple[Got, str]:
    if opened.result is None:
        return "crash" if opened.got == "refuse" else opened.got, opened.code  # it spoilt all the others
    entries = {entry.path: entry for entry in opened.entries}
    if case.path not in entries:
        found = opened.result.report_summary.num_findings
        return "refuse" if opened.got == "accept" else opened.got, " ".join(code for code in found if code in REASONS)
    entry = entries[case.path]
    if case.twin is None:
        return opened.got, f"{entry.width} x {entry.height}"
    return opened.got, "as its twin" if entry.duplicate_group == entries[TWIN].duplicate_group else "other pixels"
