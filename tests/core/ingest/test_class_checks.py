from core.dataset_index import IndexEntry, Split
from core.ingest.class_checks import SMALL_CLASS, check_classes
from core.ingest.findings import FindingCode, FindingLog
from tests.core.ingest.entries import make_entry
from tests.core.ingest.reading import list_findings

CLASSES = ("cat", "dog")


def _class(label: int, count: int, split: Split = "train") -> list[IndexEntry]:
    return [make_entry(index, label=label, split=split) for index in range(count)]


def _check(entries: list[IndexEntry]) -> list[tuple[FindingCode, str]]:
    log = FindingLog()
    check_classes(entries, CLASSES, log)
    return [(finding.code, finding.path) for finding in list_findings(log)]


def test_good_classes_have_no_findings() -> None:
    assert _check([*_class(0, SMALL_CLASS), *_class(1, SMALL_CLASS)]) == []


def test_class_of_few_different_pictures_is_found() -> None:
    copies = [make_entry(index, label=1, group="one") for index in range(SMALL_CLASS)]

    assert _check([*_class(0, SMALL_CLASS), *copies]) == [(FindingCode.CLASS_SMALL, "dog")]


def test_class_that_a_split_lacks_is_found() -> None:
    entries = [*_class(0, SMALL_CLASS), *_class(1, SMALL_CLASS), make_entry(99, split="test")]

    assert _check(entries) == [(FindingCode.CLASS_MISSING_IN_SPLIT, "dog")]


def test_imbalance_is_found() -> None:
    assert _check([*_class(0, 201), *_class(1, 20)]) == [(FindingCode.CLASS_IMBALANCE, "dog")]
    assert _check([*_class(0, 200), *_class(1, 20)]) == []
