import json

from core.ingest.findings import HINTS, LEFT_OUT, MAX_LISTED_PER_CODE, FindingCode, FindingLog
from core.sample_table import SAMPLE_FINDINGS
from tests.core.ingest.entries import make_entry
from tests.core.ingest.reading import list_findings


def test_log_counts_what_it_does_not_list() -> None:
    log = FindingLog()
    for _ in range(MAX_LISTED_PER_CODE + 5):
        log.add(FindingCode.NOT_AN_IMAGE, "a.txt", "it is no picture")
    log.add(FindingCode.IMAGE_TRUNCATED, "b.png", "it ends too early")

    assert len(list_findings(log)) == MAX_LISTED_PER_CODE + 1
    assert log.counts[FindingCode.NOT_AN_IMAGE] == MAX_LISTED_PER_CODE + 5


def test_report_of_100_000_bad_pictures_stays_small() -> None:
    log = FindingLog()
    for index in range(100_000):
        log.add(FindingCode.IMAGE_UNDECODABLE, f"cat/{index:06d}.jpg", "it is damaged")

    (listed,) = log.list_by_code()
    assert listed.num_found == 100_000
    assert sum(map(len, listed.lines)) < 3_000_000


def test_finding_about_several_samples_names_the_first_and_marks_all() -> None:
    entries = [make_entry(index) for index in range(30)]
    log = FindingLog()

    log.add_about(FindingCode.DUPLICATE_IMAGES, entries, "30 pictures with the same pixels")

    (finding,) = list_findings(log)
    assert (finding.sample_id, finding.path) == (entries[0].sample_id, entries[0].path)
    assert [ref.sample_id for ref in finding.related] == [entry.sample_id for entry in entries[1:11]]
    assert finding.num_related == 29
    assert {entry.sample_id for entry in entries} == set(log.codes_of)


def test_long_names_do_not_make_long_findings() -> None:
    entries = [make_entry(index, path=f"{index}/" + "ä" * 1000) for index in range(11)]
    log = FindingLog()

    log.add_about(FindingCode.NEAR_DUPLICATES, entries, "11 pictures look nearly the same")

    (listed,) = log.list_by_code()
    assert len(listed.lines[0]) < 8192
    assert json.loads(listed.lines[0])["num_related"] == 10


def test_every_code_has_a_hint() -> None:
    assert set(HINTS) == set(FindingCode)


def test_samples_can_be_asked_for_by_every_code_that_is_about_samples() -> None:
    about_classes = {code for code in FindingCode if code.startswith("class_")}

    assert {code.value for code in set(FindingCode) - LEFT_OUT - about_classes} == set(SAMPLE_FINDINGS)
