"""docs/training.md has a row for every field of a job, and none for a field that is gone."""

import json
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from core.specs import Spec, TrainingSpec

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


class SpecField(NamedTuple):
    path: str  # as in JSON
    default: object


class Row(NamedTuple):
    field: str
    default: str


def list_fields(spec: type[Spec], prefix: str = "") -> list[SpecField]:
    """Depth first; a union's members one after another."""
    fields = []
    for name, field in spec.model_fields.items():
        fields.append(SpecField(prefix + name, field.get_default(call_default_factory=True)))
        for part in find_specs(field.annotation):
            fields += list_fields(part, f"{prefix}{name}.")
    return fields


def find_specs(annotation: object) -> list[type[Spec]]:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    return [spec for part in get_args(annotation) for spec in find_specs(part)]


def read_rows() -> list[Row]:
    """The rows that begin with a name in code."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [Row(*(cell.strip() for cell in line.split("|")[1:3])) for line in lines]


FIELDS = list_fields(TrainingSpec)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"{field.path}={field.default}"[:60])
def test_field_has_a_row_with_its_default(field: SpecField) -> None:
    defaults = [row.default for row in read_rows() if row.field == f"`{field.path}`"]

    assert defaults, f"docs/training.md has no row for {field.path}"
    assert isinstance(field.default, Spec) or f"`{json.dumps(field.default)}`" in defaults


def test_rows_name_fields_that_exist() -> None:
    assert {row.field for row in read_rows()} == {f"`{field.path}`" for field in FIELDS}
