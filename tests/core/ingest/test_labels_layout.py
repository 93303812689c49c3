from pathlib import Path

import pytest

from core.ingest.findings import FindingCode
from tests.core.ingest.ingesting import Ingested, refuse_members
from tests.pictures import Member, make_members, write_zip

PICTURES = [(f"pictures/{name.replace('/', '_')}", content) for name, content in make_members({"cat": 10, "dog": 6})]


def _list(names: list[str], *, split: str | None = None) -> str:
    header = "path,label" + (",split" if split else "")
    return "\n".join([header, *(f"{name},{_label(name)}" + (f",{split}" if split else "") for name in names)])


def _label(name: str) -> str:
    return name.removeprefix("pictures/").split("_")[0]


NAMES = [name for name, _ in PICTURES]


def _ingest(tmp_path: Path, labels: str, *, name: str = "labels.csv", more: tuple[Member, ...] = ()) -> Ingested:
    return Ingested(write_zip(tmp_path / "archive", [*PICTURES, (name, labels.encode()), *more]))


def _refuse(tmp_path: Path, labels: str, name: str = "labels.csv") -> str:
    return refuse_members(tmp_path, [*PICTURES, (name, labels.encode())])


def test_csv_gives_the_classes(tmp_path: Path) -> None:
    ingested = _ingest(tmp_path, _list(NAMES))

    assert ingested.counts() == {"cat": (8, 0, 2), "dog": (5, 0, 1)}
    summary = ingested.report.summary
    assert summary.layout == "classes by the rows of labels.csv"
    assert summary.recognised is not None
    assert summary.recognised.model_dump() == {
        "layout": "labels_file",
        "wrapping_folder": None,
        "labels_file": "labels.csv",
        "given_splits": (),
    }
    assert (summary.archive, summary.num_left_out) == ("zip", 0)


def test_jsonl_gives_classes_and_splits(tmp_path: Path) -> None:
    lines = [
        f'{{"path": "{name}", "label": "{_label(name)}", "split": "{"test" if number % 2 else "train"}"}}'
        for number, name in enumerate(NAMES)
    ]

    ingested = _ingest(tmp_path, "\n".join(lines), name="metadata.jsonl")

    assert ingested.counts() == {"cat": (5, 0, 5), "dog": (3, 0, 3)}
    assert ingested.report.summary.recognised is not None
    assert ingested.report.summary.recognised.given_splits == ("train", "test")


def test_wrapping_folder_may_hold_the_file(tmp_path: Path) -> None:
    wrapped = [(f"cells/{name}", content) for name, content in PICTURES]
    labels: Member = ("cells/labels.csv", _list(NAMES).encode())

    ingested = Ingested(write_zip(tmp_path / "archive", [labels, *wrapped, ("README", b"x")]))

    assert ingested.counts() == {"cat": (8, 0, 2), "dog": (5, 0, 1)}
    assert ingested.report.summary.recognised is not None
    assert ingested.report.summary.recognised.wrapping_folder == "cells"


def test_rows_win_over_folders(tmp_path: Path) -> None:
    members = make_members({"a": 6, "b": 6})
    rows = [f"{name},{'even' if number % 2 else 'odd'}" for number, (name, _) in enumerate(members)]
    labels = ("labels.csv", "\n".join(["path,label", *rows]).encode())

    assert set(Ingested(write_zip(tmp_path / "archive", [*members, labels])).counts()) == {"even", "odd"}


def test_file_of_one_class_folder_is_no_labels_file(tmp_path: Path) -> None:
    members = [*make_members({"cat": 5, "dog": 5}), ("cat/metadata.jsonl", b"{}")]

    ingested = Ingested(write_zip(tmp_path / "archive", members))

    assert set(ingested.counts()) == {"cat", "dog"}
    assert ("cat/metadata.jsonl", FindingCode.NOT_AN_IMAGE) in _findings(ingested)


def test_pictures_without_a_row_are_left_out(tmp_path: Path) -> None:
    ingested = _ingest(tmp_path, _list(NAMES[1:]))

    assert (NAMES[0], FindingCode.NOT_LISTED) in _findings(ingested)
    assert ingested.packed.num_samples == 15


def test_names_match_however_they_are_composed(tmp_path: Path) -> None:
    picture = ("pictures/cafe\u0301.png", make_members({"x": 99})[-1][1])

    ingested = _ingest(tmp_path, _list(NAMES) + "\npictures/caf\u00e9.png,dog", more=(picture,))

    assert ingested.packed.num_samples == 17


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (_list([*NAMES, "pictures/cat_99.png"]), "labels_file_missing"),
        (_list([*NAMES, "pictures/CAT_0.png"]), "labels_file_missing"),
        (_list([*NAMES, NAMES[0]]), "labels_row_duplicate"),
        (_list([*NAMES, f"./{NAMES[0]}"]), "labels_row_duplicate"),
        (_list(NAMES[:10]), "one_class"),
        (_list(NAMES, split="test"), "no_train_split"),
        (_list(NAMES[:14]), "class_too_small"),
        (_list(NAMES).replace(",dog", ",Cat", 1), "ambiguous_class_names"),
        ("id,breed\n1,cat", "labels_column_unknown"),
    ],
)
def test_wrong_rows_are_refused(tmp_path: Path, labels: str, code: str) -> None:
    assert _refuse(tmp_path, labels) == code


def test_two_labels_files_are_refused(tmp_path: Path) -> None:
    members = [*PICTURES, ("labels.csv", b"path,label"), ("metadata.jsonl", b"{}")]

    assert refuse_members(tmp_path, members) == "labels_file_ambiguous"


def _findings(ingested: Ingested) -> set[tuple[str, FindingCode]]:
    return {(finding.path, finding.code) for finding in ingested.findings}
