"""A part of the abuse suite; the whole is `make abuse`."""

from collections.abc import Iterable

import pytest

from core.images import ImageLimits
from core.ingest.limits import MEBIBYTE, IngestLimits
from tests.abuse import archives, mutations, pictures
from tests.abuse.archive_cases import ArchiveCase, accept, make_set
from tests.abuse.forgery import make_zip
from tests.abuse.imports import CANARY
from tests.abuse.picture_cases import PictureCase
from tests.abuse.picture_forgery import insert_chunk
from tests.abuse.summary import summarise
from tests.abuse.verdict import Got, Verdict
from tests.pictures import encode, make_picture

SEED = 1
EVERY_ARCHIVE, EVERY_PICTURE, NUM_MUTATIONS = 15, 12, 12
STARVED = IngestLimits(memory_bytes=MEBIBYTE)


def _list_wrong(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if not verdict.is_right]


def test_archives_are_taken_or_refused() -> None:
    assert not _list_wrong(archives.run(seed=SEED, cases=archives.list_cases(SEED)[::EVERY_ARCHIVE]))


def test_pictures_are_taken_or_left_out() -> None:
    assert not _list_wrong(pictures.run(seed=SEED, cases=pictures.list_cases(SEED)[::EVERY_PICTURE]))


def test_mutations_crash_nothing() -> None:
    assert not _list_wrong(mutations.run(seed=SEED, numbers=range(NUM_MUTATIONS)))


def test_corpora_are_as_large_as_they_must_be() -> None:
    assert _count(archives.list_cases(SEED)) >= 60
    assert _count(pictures.list_cases(SEED)) >= 80


def _count(cases: Iterable[ArchiveCase | PictureCase]) -> int:
    names = [case.name for case in cases]
    assert len(names) == len(set(names))
    return len(names)


# Controls: without what they check, the checkers must see it.


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("zip with a member of 20 MiB of zeros", IngestLimits(max_member_ratio=10_000)),
        ("tar.zst of 100 MiB of zeros", IngestLimits(max_ratio=100_000)),
        ("tar.zst with a window of 256 MiB", IngestLimits(max_zstd_window_bytes=256 * MEBIBYTE)),
    ],
)
def test_archive_past_a_limit_that_is_off_is_a_wrong_verdict(name: str, limits: IngestLimits) -> None:
    cases = [case for case in archives.list_cases(SEED) if case.name == name]

    assert len(_list_wrong(archives.run(cases=cases, limits=limits))) == len(cases) == 1


def test_picture_past_a_limit_that_is_off_is_a_wrong_verdict() -> None:
    cases = [case for case in pictures.list_cases(SEED) if case.name == "16,385 pixels wide"]
    limits = IngestLimits(image=ImageLimits(max_side=20_000))

    (wrong,) = _list_wrong(pictures.run(cases=cases, limits=limits))

    assert (wrong.got, wrong.code) == ("accept", "16385 x 8")
    assert wrong.rss_mb > 20


def test_child_that_dies_is_a_crash() -> None:
    cases = [accept("good", lambda: make_zip(list(make_set(SEED))))]

    verdicts = [*archives.run(cases=cases, limits=STARVED), *mutations.run(numbers=[0], limits=STARVED)]

    assert [verdict.got for verdict in _list_wrong(verdicts)] == ["crash", "crash"]


def test_canary_in_what_an_import_writes_is_a_leak() -> None:
    picture = insert_chunk(encode(make_picture(5)), b"abCd", CANARY)
    cases = [
        accept(
            "leaky", lambda: make_zip([*make_set(SEED), ("cat/x.png", picture)]), "2 classes, 13 samples, train+test"
        )
    ]

    (wrong,) = _list_wrong(archives.run(cases=cases))

    assert wrong.got == "leak"


def test_summary_counts_what_is_right() -> None:
    verdicts = [
        _make_verdict("accept"),
        _make_verdict("refuse"),
        _make_verdict("crash"),
        _make_verdict("leak", seconds=2.0, rss_mb=70),
    ]

    assert summarise(verdicts) == "accepted=1/4 refused=0/0 crashed=1 leaked=1 worst_rss_mb=70 worst_s=2.0"


def _make_verdict(got: Got, *, seconds: float = 1.0, rss_mb: float = 50) -> Verdict:
    return Verdict("archives", "x", "accept", got, "code", seconds, rss_mb, expected_code="code")
