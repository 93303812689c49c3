import pytest

from core.ingest.errors import ImportRejectedError
from core.ingest.labels_file import LabelRow, read_rows
from core.ingest.limits import IngestLimits

LIMITS = IngestLimits()


def _read(content: str | bytes, name: str = "labels.csv", limits: IngestLimits = LIMITS) -> list[LabelRow]:
    return read_rows(name, content.encode() if isinstance(content, str) else content, limits)


def _refuse(content: str | bytes, name: str = "labels.csv", limits: IngestLimits = LIMITS) -> ImportRejectedError:
    with pytest.raises(ImportRejectedError) as error:
        _read(content, name, limits)
    return error.value


def test_csv_rows_are_read() -> None:
    rows = _read('\ufeffLabel, path\r\ncat,a.png\r\n\r\n" a, dog ","./deep/b ""2"".png"\r\n')

    assert rows == [
        LabelRow(line=2, path="a.png", label="cat", split=None),
        LabelRow(line=4, path='deep/b "2".png', label="a, dog", split=None),
    ]


def test_jsonl_rows_are_read() -> None:
    rows = _read(
        '{"path": "a.png", "label": 3, "split": "Train"}\n\n{"split":"valid","label":"x","path":"b"}', "a.jsonl"
    )

    assert [(row.line, row.label, row.split) for row in rows] == [(1, "3", "train"), (3, "x", "val")]


def test_names_are_composed() -> None:
    (row,) = _read("path,label\ncafe\u0301.png,cafe\u0301\n")

    assert (row.path, row.label) == ("caf\u00e9.png", "caf\u00e9")


@pytest.mark.parametrize("label", ["-1", "+2.5", "-", "10,000", "naïve", "a=b", "🐈", "b" * 255])
def test_honest_label_is_taken(label: str) -> None:
    (row,) = _read(f'path,label\na.png,"{label}"')

    assert row.label == label


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "labels_column_missing"),
        ("path,label\n", "labels_file_empty"),
        ("path,label\n\n\n", "labels_file_empty"),
        ("path,lable\na,b", "labels_column_unknown"),
        ("path,label,label\na,b,c", "labels_column_unknown"),
        ("path;label\na;b", "labels_column_unknown"),
        ("path,split\na,train", "labels_column_missing"),
        ("path,label\na", "labels_file_damaged"),
        ("path,label\na,b,c", "labels_file_damaged"),
        ('path,label\n"a,b', "labels_file_damaged"),
        ("path,label\na," + "x" * 200_000, "labels_file_damaged"),
        (b"path,label\ncaf\xe9.png,cat\n", "labels_file_damaged"),
        ("path,label\n,cat", "labels_path_invalid"),
        ("path,label\n/etc/passwd,cat", "labels_path_invalid"),
        ("path,label\n../a.png,cat", "labels_path_invalid"),
        ("path,label\nC:\\a.png,cat", "labels_path_invalid"),
        ("path,label\ncat\\a.png,cat", "labels_path_invalid"),
        ("path,label\na.png,", "labels_label_invalid"),
        ("path,label\na.png, .", "labels_label_invalid"),
        ("path,label\na.png,=1+1", "labels_label_invalid"),
        ("path,label\na.png,@SUM(A1)", "labels_label_invalid"),
        ("path,label\na.png,-cmd|calc", "labels_label_invalid"),
        ("path,label\na.png,c\u202eat", "labels_label_invalid"),
        ("path,label\na.png,c\0at", "labels_label_invalid"),
        (f"path,label\na.png,{'é' * 128}", "labels_label_invalid"),
        ("path,label,split\na,b,dev", "labels_split_invalid"),
        ("path,label,split\na,b,train\nc,d,", "labels_split_invalid"),
    ],
)
def test_wrong_csv_is_refused(content: str | bytes, code: str) -> None:
    assert _refuse(content).code == code


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"path": "a", "label": "b"', "labels_file_damaged"),
        ("[1]", "labels_file_damaged"),
        ("[" * 100_000, "labels_file_damaged"),
        ('{"path": "a", "label": null}', "labels_file_damaged"),
        ('{"path": "a", "label": ["b", "c"]}', "labels_file_damaged"),
        ('{"path": "a", "labels": "b"}', "labels_column_missing"),
        ('{"file_name": "a", "path": "a", "label": "b"}', "labels_column_unknown"),
        ('{"path": "a"}', "labels_column_missing"),
        ('{"path": "a", "label": "b", "split": "dev"}', "labels_split_invalid"),
        ('{"path": "a", "label": "b", "split": "test"}\n{"path": "c", "label": "d"}', "labels_split_invalid"),
    ],
)
def test_wrong_jsonl_is_refused(line: str, code: str) -> None:
    assert _refuse(line, "metadata.jsonl").code == code


def test_error_names_the_lines() -> None:
    error = _refuse("path,label\n" + "a.png,=x\nb.png,cat\n" * 12)

    assert error.message.startswith("labels.csv: line 2: the label '=x' looks like a formula")
    assert "line 4:" in error.message
    assert error.message.endswith("; and 2 more")
    assert error.hint


def test_reading_ends_at_too_many_problems() -> None:
    error = _refuse("{}\n" * 10_000, "metadata.jsonl")

    assert error.code == "labels_column_missing"
    assert error.message.endswith("line 10: no field 'path'; and many more")


def test_rows_and_bytes_over_the_limit_are_refused() -> None:
    content = "path,label\na,b\nc,d\n"

    assert _refuse(content, limits=IngestLimits(max_members=1)).code == "labels_too_many_rows"
    assert _refuse(content, limits=IngestLimits(max_labels_file_bytes=18)).code == "labels_file_too_large"
    assert len(_read(content, limits=IngestLimits(max_members=2, max_labels_file_bytes=19))) == 2
