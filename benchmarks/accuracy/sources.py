"""Labelled pictures to compare methods on, as an archive with a folder per class."""

import zipfile
from pathlib import Path
from typing import Literal

import elpv_dataset

from core.errors import InvalidInputError

ElpvTask = Literal[2, 8]
DEFECTIVE_FROM = 0.5  # of the experts' probability


def write_elpv(path: Path, task: ElpvTask) -> None:
    """2,624 solar cells (Deitsch et al. 2019): defective or functional, or four levels of defects by two kinds."""
    folder = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines() if line.strip()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, probability, kind in rows:
            archive.write(folder / name, f"{_name_class(float(probability), kind, task)}/{Path(name).name}")


def write_folder(path: Path, source: Path) -> None:
    """Whatever lies below `source`, as it is named there."""
    files = sorted(file for file in source.rglob("*") if file.is_file())
    if not files:
        raise InvalidInputError("no_images", f"there are no files below {source}", hint="give a folder per class")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.relative_to(source).as_posix())


def _name_class(probability: float, kind: str, task: ElpvTask) -> str:
    if task == 8:
        return f"{kind}-{round(100 * probability):03d}"
    return "defective" if probability >= DEFECTIVE_FROM else "functional"
