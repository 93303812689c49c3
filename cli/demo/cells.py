"""Pictures of solar cells (the wheel `elpv-dataset`): some to train on, others kept aside."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import elpv_dataset
import numpy as np

CLASSES = ("defective", "functional")
DEFECTIVE_FROM = 0.5  # of the experts' probability


@dataclass(frozen=True)
class Cell:
    path: Path
    label: str

    @property
    def member_name(self) -> str:
        return f"{self.label}/{self.path.name}"


def draw_cells(*counts: int, seed: int) -> list[list[Cell]]:
    """As many distinct cells as each count says, at random."""
    cells = _read_cells()
    order = iter(np.random.default_rng(seed).permutation(len(cells)))
    return [[cells[next(order)] for _ in range(count)] for count in counts]


def write_archive(path: Path, cells: list[Cell]) -> None:
    """A folder per class; PNGs do not get smaller by packing."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for cell in cells:
            archive.write(cell.path, cell.member_name)


def compute_majority_rate(cells: list[Cell]) -> float:
    """The accuracy of always saying the most frequent class."""
    labels = [cell.label for cell in cells]
    return max(labels.count(name) for name in CLASSES) / len(labels)


def _read_cells() -> list[Cell]:
    folder = Path(elpv_dataset.__file__).parent / "data"
    rows = [line.split() for line in (folder / "labels.csv").read_text().splitlines() if line.strip()]
    return [Cell(folder / name, CLASSES[float(probability) < DEFECTIVE_FROM]) for name, probability, _ in rows]
