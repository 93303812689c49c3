"""docs/datasets.md names every limit of datasets, and no setting that is gone."""

import re
from pathlib import Path

import pytest

from core.ingest.limits import IngestLimits
from core.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/datasets.md").read_text()
CHANGED = 7  # a value that is no default


def _read_limits(**changed: int) -> IngestLimits:
    return IngestLimits.from_settings(
        Settings.model_construct(
            **{name: field.get_default() for name, field in Settings.model_fields.items()} | changed
        )
    )


LIMITS = [name for name in Settings.model_fields if name.startswith(("max_", "min_", "import_", "unpack_"))]
OF_IMPORTS = [name for name in LIMITS if _read_limits(**{name: CHANGED}) != _read_limits()]


@pytest.mark.parametrize("name", OF_IMPORTS)
def test_limit_is_documented(name: str) -> None:
    assert f"| `BITUNE_{name.upper()}` |" in PAGE


def test_documented_settings_exist() -> None:
    for name in re.findall(r"BITUNE_([A-Z0-9_]+)", PAGE):
        assert name.lower() in Settings.model_fields


def test_defaults_of_settings_are_those_of_the_limits() -> None:
    assert _read_limits() == IngestLimits(decoders=Settings.model_fields["import_decoders"].default)
