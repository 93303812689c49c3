"""Reads the rows of `labels.csv` and `metadata.jsonl` strictly, and says of each wrong row what is wrong."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from pydantic import BaseModel, ConfigDict, ValidationError

from core.dataset_index import Split
from core.ingest.errors import ImportRejectedError
from core.ingest.layout import SPLIT_NAMES, find_name_fault, normalise
from core.ingest.limits import IngestLimits
from core.ingest.member_names import split_name

LABELS_FILE_NAMES = ("labels.csv", "metadata.jsonl")
REQUIRED_COLUMNS = {"path", "label"}
COLUMNS = (*sorted(REQUIRED_COLUMNS, reverse=True), "split")
MAX_SHOWN_PROBLEMS = 10
MAX_SHOWN_CHARS = 200
MAX_PROBLEMS = 1000  # after so many, reading on tells nothing
HINTS = {
    "labels_file_damaged": "one header line path,label[,split], or one JSON object a line, in UTF-8",
    "labels_column_unknown": "the columns are path, label and split; if folders are the classes, remove the file",
    "labels_column_missing": "the columns are path, label and split",
    "labels_path_invalid": "paths are relative to the labels file, with forward slashes",
    "labels_label_invalid": "a label is a name: letters and digits",
    "labels_split_invalid": "a split is train, val or test, in every row or in none",
    "labels_row_duplicate": "keep one row for each picture",
    "labels_file_missing": "paths are relative to the labels file, and spelled as in the archive",
}


@dataclass(frozen=True)
class LabelRow:
    line: int
    path: str  # relative to the labels file, NFC
    label: str  # NFC
    split: Split | None


class _RawRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    path: str
    label: str
    split: str | None = None


class RowProblems:
    """Collects what is wrong; at its end, raises the first kind of problem with the lines that have it."""

    def __init__(self, file_name: str) -> None:
        self._file_name = file_name
        self._code: str | None = None
        self._shown: list[str] = []
        self._count = 0  # of the first kind
        self._total = 0

    def __enter__(self) -> "RowProblems":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._code is not None:
            raise self._to_error(self._code)

    def add(self, code: str, line: int, message: str) -> None:
        """Raises ImportRejectedError when there are too many."""
        self._code = self._code or code
        self._total += 1
        if code == self._code:  # the first kind is mended first
            self._count += 1
            if len(self._shown) < MAX_SHOWN_PROBLEMS:
                self._shown.append(f"line {line}: {message[:MAX_SHOWN_CHARS]}")
        if self._total == MAX_PROBLEMS:
            raise self._to_error(self._code)

    def _to_error(self, code: str) -> ImportRejectedError:
        left = "many" if self._total == MAX_PROBLEMS else self._count - len(self._shown)
        more = f"; and {left} more" if left else ""
        return ImportRejectedError(code, f"{self._file_name}: {'; '.join(self._shown)}{more}", hint=HINTS[code])


def read_rows(file_name: str, content: bytes, limits: IngestLimits) -> list[LabelRow]:
    """One or more. Raises ImportRejectedError."""
    if len(content) > limits.max_labels_file_bytes:
        raise ImportRejectedError(
            "labels_file_too_large", f"{file_name} has more than {limits.max_labels_file_bytes} bytes"
        )
    rows: list[LabelRow] = []
    with RowProblems(file_name) as problems:
        for line, raw in _read_raw(file_name, content, problems):
            if len(rows) >= limits.max_members:
                raise ImportRejectedError("labels_too_many_rows", f"{file_name} has more than {len(rows)} rows")
            rows.append(_check_row(line, raw, problems))
        _check_all_have_splits(rows, problems)
    if not rows:
        raise ImportRejectedError(
            "labels_file_empty", f"{file_name} has no rows", hint="add a row for each picture, or remove it"
        )
    return rows


def _read_raw(file_name: str, content: bytes, problems: RowProblems) -> Iterator[tuple[int, _RawRow]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        problems.add("labels_file_damaged", 1 + content.count(b"\n"), "the file is not UTF-8")
        return
    if file_name.endswith(".csv"):
        yield from _read_csv(text, problems)
    else:
        yield from _read_jsonl(text, problems)


def _read_csv(text: str, problems: RowProblems) -> Iterator[tuple[int, _RawRow]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip().casefold() for cell in next(reader, [])]
        if not _is_header_right(header, problems):
            return
        for cells in reader:
            if len(cells) not in {0, len(header)}:
                problems.add("labels_file_damaged", reader.line_num, f"{len(cells)} cells instead of {len(header)}")
            elif cells:
                row = dict(zip(header, cells, strict=True))
                yield reader.line_num, _RawRow(path=row["path"], label=row["label"], split=row.get("split"))
    except csv.Error as exc:
        problems.add("labels_file_damaged", reader.line_num, str(exc))


def _is_header_right(header: list[str], problems: RowProblems) -> bool:
    unknown = [repr(name) for name in header if name not in COLUMNS or header.count(name) > 1]
    missing = [repr(name) for name in COLUMNS if name in REQUIRED_COLUMNS and name not in header]
    if unknown:
        problems.add("labels_column_unknown", 1, f"columns unknown or twice: {', '.join(unknown[:MAX_SHOWN_PROBLEMS])}")
    elif missing:
        problems.add("labels_column_missing", 1, f"no column {' and '.join(missing)}")
    return not unknown and not missing


def _read_jsonl(text: str, problems: RowProblems) -> Iterator[tuple[int, _RawRow]]:
    for number, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        try:
            yield number, _RawRow.model_validate_json(line)
        except ValidationError as exc:
            _explain(exc, number, problems)


def _explain(error: ValidationError, line: int, problems: RowProblems) -> None:
    first = error.errors(include_url=False, include_input=False)[0]
    name = repr(first["loc"][0]) if first["loc"] else "the line"
    match first["type"]:
        case "extra_forbidden":
            problems.add("labels_column_unknown", line, f"field {name} is unknown")
        case "missing":
            problems.add("labels_column_missing", line, f"no field {name}")
        case _:
            problems.add("labels_file_damaged", line, f"{name}: {first['msg']}")


def _check_row(line: int, raw: _RawRow, problems: RowProblems) -> LabelRow:
    label = raw.label.strip()
    if fault := find_name_fault(label):
        problems.add("labels_label_invalid", line, f"the label {label[:50]!r} {fault}")
    split = None if raw.split is None else SPLIT_NAMES.get(raw.split.strip().casefold())
    if raw.split is not None and split is None:
        problems.add("labels_split_invalid", line, f"the split {raw.split[:50]!r} is unknown")
    return LabelRow(line=line, path=_check_path(line, raw.path, problems), label=normalise(label), split=split)


def _check_path(line: int, path: str, problems: RowProblems) -> str:
    try:
        parts = split_name(path.strip())
    except ImportRejectedError:
        parts = ()
    if not parts:
        problems.add("labels_path_invalid", line, f"{path[:100]!r} is no relative path")
    return normalise("/".join(parts))


def _check_all_have_splits(rows: list[LabelRow], problems: RowProblems) -> None:
    without = [row.line for row in rows if row.split is None]
    if len(without) < len(rows):
        for line in without:
            problems.add("labels_split_invalid", line, "it has no split, other rows have one")
