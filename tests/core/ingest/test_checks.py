import pytest

from core.dataset_index import IndexEntry, Split
from core.ingest.checks import check_samples
from core.ingest.errors import ImportRejectedError
from core.ingest.findings import FindingCode, FindingLog
from tests.core.ingest.reading import list_findings

CLASSES = ("cat", "dog")


def _entry(label: int, group: str, *, split: Split = "train") -> IndexEntry:
    return IndexEntry(
        sample_id="",
        shard="0.tar",
        offset=0,
        size_bytes=1,
        label=label,
        split=split,
        width=32,
        height=32,
        sha256="",
        path=f"{CLASSES[label]}/{group}.png",
        duplicate_group=group,
    )


def _class(label: int, count: int) -> list[IndexEntry]:
    return [_entry(label, f"{CLASSES[label]}-{index}") for index in range(count)]


def _check(entries: list[IndexEntry]) -> list[FindingCode]:
    log = FindingLog()
    check_samples(entries, CLASSES, log, min_images_per_class=5)
    return [finding.code for finding in list_findings(log)]


def _refuse(entries: list[IndexEntry]) -> ImportRejectedError:
    with pytest.raises(ImportRejectedError) as error:
        _check(entries)
    return error.value


def test_good_samples_have_no_findings() -> None:
    assert _check([*_class(0, 5), *_class(1, 5)]) == []


def test_class_of_copies_is_too_small() -> None:
    error = _refuse([*_class(0, 5), *_class(1, 4), _entry(1, "dog-0")])

    assert (error.code, "'dog' (4)" in error.message, "'cat'" in error.message) == ("class_too_small", True, False)


def test_class_without_any_sample_is_too_small() -> None:
    assert "'dog' (0)" in _refuse(_class(0, 5)).message


def test_class_outside_train_is_refused() -> None:
    dogs = [entry.model_copy(update={"split": "test"}) for entry in _class(1, 5)]

    assert _refuse([*_class(0, 5), *dogs]).code == "class_not_in_train"


def test_copies_are_found() -> None:
    assert _check([*_class(0, 5), *_class(1, 5), _entry(1, "dog-0")]) == [FindingCode.DUPLICATE_IMAGES]


def test_copies_in_two_splits_are_found() -> None:
    entries = [*_class(0, 5), *_class(1, 5), _entry(1, "dog-0", split="test")]

    assert _check(entries) == [FindingCode.DUPLICATE_ACROSS_SPLITS]


@pytest.mark.parametrize("count", [1, 3])
def test_few_pictures_in_two_classes_are_found(count: int) -> None:
    shared = [_entry(1, f"cat-{index}") for index in range(count)]

    assert _check([*_class(0, 9), *_class(1, 9), *shared]).count(FindingCode.CONFLICTING_LABELS) == count


def test_many_pictures_in_two_classes_are_refused() -> None:
    shared = [_entry(1, f"cat-{index}") for index in range(4)]

    assert _refuse([*_class(0, 9), *_class(1, 9), *shared]).code == "conflicting_labels"
    assert _check([*_class(0, 500), *_class(1, 500), *shared])
